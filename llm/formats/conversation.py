"""What a record means, whatever format it came in: a `Conversation` of `Message`s made of text and images.

No torch here: the data tools and the service read conversations without loading a framework.
"""

from dataclasses import dataclass, field
from typing import Literal

from llm.errors import Place, RecordError

Role = Literal["system", "user", "assistant"]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}
"""The names under which data sets write the three roles."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a record: a resolved file path, or encoded bytes that a parquet row carried."""

    path: str = ""
    data: bytes = field(default=b"", repr=False)


MessagePart = str | ImageRef


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `parts` holds typed text and images in reading order; `loss` marks an answer as trained on.

    An image stands on a line of its own: the line break after it is the template's and is not part of the text.
    """

    role: Role
    parts: tuple[MessagePart, ...]
    loss: bool = True

    @property
    def text(self) -> str:
        """The typed text alone, images left out."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Conversation:
    """One record. A conversation of a single assistant message is plain text (continued pretraining)."""

    messages: tuple[Message, ...]
    place: Place

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """Every image in reading order."""
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, ImageRef))

    @property
    def is_plain(self) -> bool:
        """True when there is no question: only the beginning and the end of the text are marked."""
        return len(self.messages) == 1 and self.messages[0].role == "assistant"


def check_conversation(conversation: Conversation) -> None:
    """Hold a conversation to the laws of a record, or raise RecordError.

    One optional system message, then questions and answers in turn, an answer last; a lone answer is plain text.
    No turn is empty, images stand in questions, at least one answer carries loss.
    """
    turns = conversation.messages
    if turns and turns[0].role == "system":
        turns = turns[1:]
    if not any(message.role == "assistant" for message in turns):
        raise _broken(conversation, "answers", "there is none", "Add an answer or remove the record", "answer-missing")
    if not conversation.is_plain:
        _check_order(conversation, turns)
    for number, message in enumerate(conversation.messages, 1):
        _check_message(conversation, f"message {number} ({message.role})", message)
    if not any(message.loss for message in turns if message.role == "assistant"):
        advice = "Let one answer carry loss or remove the record"
        raise _broken(conversation, "loss", "no answer carries loss", advice, "no-target")


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


def _check_message(conversation: Conversation, where: str, message: Message) -> None:
    images = [part for part in message.parts if isinstance(part, ImageRef)]
    if images and message.role != "user":
        code = "image-in-answer" if message.role == "assistant" else "image-place"
        raise _broken(conversation, where, "holds an image", "Only questions show images: move it to a question", code)
    if any(not image.path and not image.data for image in images):
        raise _broken(conversation, where, "an image without a path", "Give every image a path", "image-ref")
    text = message.text
    if not images and not text.strip():
        code = "answer-empty" if message.role == "assistant" else "turn-empty"
        raise _broken(conversation, where, "is empty", "Write its text or remove the record", code)
    if not _is_unicode(text):
        advice = "An escape such as \\ud83d lost its other half: write the character itself"
        raise _broken(conversation, where, "half of a surrogate pair, which is no character", advice, "surrogate")


def _is_unicode(text: str) -> bool:
    """False when the text holds a lone surrogate: JSON can carry one, no tokenizer can read it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _broken(conversation: Conversation, field: str, found: str, advice: str, code: str) -> RecordError:
    return RecordError(conversation.place, field, found, advice, code)
