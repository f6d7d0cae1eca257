"""Segments of rendered text: what a conversation becomes when a chat template puts its frame around every turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llm.formats.conversation import ImageRef, Message, MessagePart

IMAGE_PLACEHOLDER = "<image>"
"""How an image is written in rendered text."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of rendered text that is either supervised or context throughout.

    `typed` text comes from the record and may contain no special token; text of the template may. A segment with an
    `image` has empty text and becomes the tokens of that image.
    """

    text: str
    supervised: bool
    typed: bool = False
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True)
class TurnFrame:
    """What a template writes around the text of one turn, and which characters it strips from that text."""

    before: str
    end: str = ""  # text after an answer up to and including its end mark; empty where there is none
    left: str = ""  # characters stripped from the start of the text
    right: str = ""  # characters stripped from its end


def prepare_messages(messages: tuple[Message, ...], plain: bool) -> list[Message]:
    """The messages as templates expect them: each image followed by a line break.

    `plain`: user and system messages keep their images only, and are left out without one.
    """
    if not plain:
        return [replace(message, parts=_with_line_breaks(message.parts)) for message in messages]
    bare = [message if message.role == "assistant" else _images_only(message) for message in messages]
    return [message for message in bare if message.parts]


def fill_frames(messages: Sequence[Message], frames: tuple[TurnFrame, ...]) -> Iterator[Segment]:
    """The segments of the turns inside their frames, without what the template writes after the last turn."""
    for message, frame in zip(messages, frames, strict=False):
        trained = message.role == "assistant" and message.loss
        before, parts = frame.before, _stripped(message.parts, frame)
        # Many tokenizers join a word with the space before it: the template's last space goes with the question, so
        # that `USER: Where` is tokenised as in one piece. An answer holds only what the model has to generate.
        if message.role != "assistant" and before.endswith(" ") and parts and isinstance(parts[0], str):
            before, parts = before[:-1], (" " + parts[0], *parts[1:])
        yield Segment(before, False)
        for part in parts:
            yield Segment("", False, image=part) if isinstance(part, ImageRef) else Segment(part, trained, typed=True)
        yield Segment(frame.end, trained)


def merge_segments(segments: list[Segment]) -> list[Segment]:
    """The segments without empty ones; neighbours that agree in `supervised` and `typed` are joined."""
    merged: list[Segment] = []
    for segment in segments:
        if segment.image is None and not segment.text:
            continue
        last = merged[-1] if merged else None
        if last and not last.image and not segment.image and _kind(last) == _kind(segment):
            merged[-1] = replace(last, text=last.text + segment.text)
        else:
            merged.append(segment)
    return merged


def rendered_text(segments: list[Segment]) -> str:
    """The text of the segments, an image as `<image>`."""
    return "".join(IMAGE_PLACEHOLDER if segment.image else segment.text for segment in segments)


def message_text(message: Message) -> str:
    """The text of a message, an image as `<image>`."""
    return "".join(IMAGE_PLACEHOLDER if isinstance(part, ImageRef) else part for part in message.parts)


def _kind(segment: Segment) -> tuple[bool, bool]:
    return segment.supervised, segment.typed


def _images_only(message: Message) -> Message:
    return replace(message, parts=tuple(part for part in message.parts if isinstance(part, ImageRef)))


def _with_line_breaks(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    """Adjacent texts joined, and a line break after every image whose text does not begin with one."""
    texts: list[str] = [""]
    images: list[ImageRef] = []
    for part in parts:
        if isinstance(part, ImageRef):
            images.append(part)
            texts.append("")
        else:
            texts[-1] += part
    lines = [texts[0], *(text if text.startswith("\n") else "\n" + text for text in texts[1:])]
    mixed: list[MessagePart] = [lines[0]]
    for image, line in zip(images, lines[1:], strict=True):
        mixed += [image, line]
    return tuple(part for part in mixed if part)


def _stripped(parts: tuple[MessagePart, ...], frame: TurnFrame) -> tuple[MessagePart, ...]:
    stripped = list(parts)
    if stripped and isinstance(stripped[0], str):
        stripped[0] = stripped[0].lstrip(frame.left)
    if stripped and isinstance(stripped[-1], str):
        stripped[-1] = stripped[-1].rstrip(frame.right)
    return tuple(part for part in stripped if part)
