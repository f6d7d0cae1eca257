"""A record independent of its format: a `Conversation` of `Message`s made of text, images and videos. No torch here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from llm.errors import Place, RecordError

Role = Literal["system", "user", "assistant"]
_FRAME = re.compile(r"(.+)#t=(\d{1,6}(?:\.\d{1,3})?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageShape:
    """What an encoder found of an image, for a model to which larger images are more tokens.

    Attributes:
        tokens: Its tokens in the ids of a sample or prompt.
        views: How many times the tower runs for it: once for all of it, and for each of its tiles.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
    """

    tokens: int
    views: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a record: an absolute file path, or the encoded bytes of an image file.

    `written` is the path in the record where it names no file as it is, and `path` the file that it means. A frame of a
    video has the video's path and the time that it is shown at as a media fragment: `clip.mp4#t=1.250`. `shape` is None
    before an encoder has set it, and where all images of a model have as many tokens.
    """

    path: str = ""
    data: bytes = field(default=b"", repr=False)
    written: str = field(default="", compare=False, repr=False)
    shape: ImageShape | None = field(default=None, compare=False, repr=False)

    @property
    def views(self) -> int:
        """How many times a tower runs for it."""
        return 1 if self.shape is None else self.shape.views

    @classmethod
    def of_frame(cls, video: str, seconds: float) -> "ImageRef":
        """The frame that the video at an absolute path shows at a time, which is rounded to milliseconds."""
        return cls(f"{video}#t={seconds:.3f}")

    @property
    def frame(self) -> tuple[str, float] | None:
        """The path of the video that it is a frame of, and the time in seconds; None for an image file."""
        found = _FRAME.fullmatch(self.path)
        return (found[1], float(found[2])) if found else None

    @property
    def file(self) -> str:
        """The path of its file: for a frame, the video's."""
        return self.frame[0] if self.frame else self.path


@dataclass(frozen=True, slots=True)
class VideoRef:
    """One video of a record, as an ImageRef is one image."""

    path: str = ""
    data: bytes = field(default=b"", repr=False)
    written: str = field(default="", compare=False, repr=False)


MessagePart = str | ImageRef | VideoRef


def tokens_of_images(images: Sequence[ImageRef], total: int) -> list[int]:
    """How many of `total` image tokens each image has: what its shape says, or the same number without shapes."""
    counts = [image.shape.tokens for image in images if image.shape is not None]
    return counts if len(counts) == len(images) else [total // len(images)] * len(images)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text, images and videos in reading order. `loss` of an assistant message: whether it is supervised.

    The line break after an image is not part of the text; the chat template adds it.
    """

    role: Role
    parts: tuple[MessagePart, ...]
    loss: bool = True

    @property
    def text(self) -> str:
        """The text without the images and videos."""
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        return "".join([part for part in self.parts if isinstance(part, str)])


@dataclass(frozen=True, slots=True)
class Conversation:
    """One record. A conversation of a single assistant message is plain text (continued pretraining)."""

    messages: tuple[Message, ...]
    place: Place

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """Every image in reading order."""
        return tuple([part for message in self.messages for part in message.parts if isinstance(part, ImageRef)])

    @property
    def videos(self) -> tuple[VideoRef, ...]:
        """Every video in reading order."""
        return tuple([part for message in self.messages for part in message.parts if isinstance(part, VideoRef)])

    @property
    def is_plain(self) -> bool:
        """Whether it is a text without a question, which is trained on between BOS and EOS, without a chat template."""
        return len(self.messages) == 1 and self.messages[0].role == "assistant"


def check_conversation(conversation: Conversation) -> None:
    """Raise RecordError unless the conversation is valid.

    Valid is an optional system message, then questions and answers in turn, the last one an answer; or one answer
    alone, which is plain text. No message is empty, only questions have images and videos, and at least one answer has
    loss.
    """
    turns = conversation.messages
    if turns and turns[0].role == "system":
        turns = turns[1:]
    if not any(message.role == "assistant" for message in turns):
        raise _broken(conversation, "answers", "there is none", "Add an answer or remove the record", "answer-missing")
    if not conversation.is_plain:
        _check_order(conversation, turns)
    for number, message in enumerate(conversation.messages, 1):
        if fault := _fault(message):
            raise _broken(conversation, f"message {number} ({message.role})", *fault)
    if not any(message.loss for message in turns if message.role == "assistant"):
        advice = "Give one answer loss or remove the record"
        raise _broken(conversation, "loss", "no answer has loss", advice, "no-target")


def _check_order(conversation: Conversation, turns: tuple[Message, ...]) -> None:
    first = 1 + len(conversation.messages) - len(turns)
    for number, message in enumerate(turns):
        expected: Role = "assistant" if number % 2 else "user"
        if message.role != expected:
            advice = "After an optional system message, questions and answers alternate and a question comes first"
            found = f"is from {message.role}, not from {expected}"
            raise _broken(conversation, f"message {first + number}", found, advice, "role-order")
    if turns[-1].role != "assistant":
        advice = "Add the answer or remove the question"
        where = f"message {len(conversation.messages)}"
        raise _broken(conversation, where, "a question without an answer", advice, "answer-missing")


def _fault(message: Message) -> tuple[str, str, str] | None:
    """(what was found, what to do, code) of a message that is not valid by itself."""
    media = [part for part in message.parts if not isinstance(part, str)]
    if media and message.role != "user":
        return _misplaced(media[0], message.role)
    if empty := next((one for one in media if not one.path and not one.data), None):
        if isinstance(empty, VideoRef):
            return "a video without a path", "Give every video a path", "video-ref"
        return "an image without a path", "Give every image a path", "image-ref"
    text = message.text
    if not media and not text.strip():
        code = "answer-empty" if message.role == "assistant" else "turn-empty"
        return "is empty", "Write its text or remove the record", code
    if not _is_unicode(text):
        advice = "An escape such as \\ud83d lost its other half: write the character itself"
        return "half of a surrogate pair, which is not a character", advice, "surrogate"
    return None


def _misplaced(media: ImageRef | VideoRef, role: Role) -> tuple[str, str, str]:
    if isinstance(media, VideoRef):
        return "holds a video", "Only questions may have videos: move it to a question", "video-place"
    code = "image-in-answer" if role == "assistant" else "image-place"
    return "holds an image", "Only questions may have images: move it to a question", code


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate, which JSON can hold but no tokenizer can read."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _broken(conversation: Conversation, field: str, found: str, advice: str, code: str) -> RecordError:
    return RecordError(conversation.place, field, found, advice, code)
