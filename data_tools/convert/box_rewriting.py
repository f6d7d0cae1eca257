"""Boxes in the texts of a record, written in the style of another family of models."""

from dataclasses import replace

from llm.errors import ImageError, RecordError
from llm.formats.conversation import Conversation, Message
from vlm.scores.box_styles import (
    LONGEST,
    MOST_BOXES,
    STEPS,
    BoxStyle,
    WrittenBox,
    box_of,
    is_inside,
    seen_by,
    write_box,
    written_boxes,
)
from vlm.vision.images import upright_size
from vlm.vision.tiles import Size

_PARTS = (1000, 1000)  # the size of an image that does not matter: boxes are parts of it before and after


def rewrite_boxes(conversation: Conversation, to: BoxStyle, source: BoxStyle | None = None) -> tuple[Conversation, int]:
    """The record with every box of its texts in the style `to`, and how many there were; of records with images alone.

    `source` is the style that they are in; without it each box has to be of one style alone. Raises RecordError for a
    box of no or of several styles, one that is not inside its image, and where the size of the image is needed but
    cannot be read or the record has several images.
    """
    if not conversation.images:
        return conversation, 0
    count = 0
    messages: list[Message] = []
    for message in conversation.messages:
        parts = []
        for part in message.parts:
            if isinstance(part, str):
                part, found = _rewritten(part, conversation, to, source)
                count += found
            parts.append(part)
        messages.append(replace(message, parts=tuple(parts)))
    return replace(conversation, messages=tuple(messages)), count


def _rewritten(text: str, conversation: Conversation, to: BoxStyle, source: BoxStyle | None) -> tuple[str, int]:
    boxes = list(written_boxes(text))
    if len(boxes) == MOST_BOXES or (boxes and len(text) > LONGEST):
        found = f"more than {MOST_BOXES - 1} boxes in a text, or one of more than {LONGEST:,} characters"
        raise RecordError(conversation.place, "boxes", found, "Split the record", "box-convention")
    pieces, end = [], 0
    for box in boxes:
        pieces += [text[end : box.start], _in_style(box, conversation, to, source)]
        end = box.end
    return "".join([*pieces, text[end:]]), len(boxes)


def _in_style(box: WrittenBox, conversation: Conversation, to: BoxStyle, source: BoxStyle | None) -> str:
    place = conversation.place
    style = source or (box.styles[0] if len(box.styles) == 1 else None)
    if style is None:
        found = f"the box {box.text} may be of the styles {', '.join(box.styles)}"
        raise RecordError(place, "boxes", found, "Name the one it is in: --boxes-from", "box-convention")
    if style not in box.styles:
        found = f"the box {box.text} is none of the style {style}"
        raise RecordError(place, "boxes", found, "Name another --boxes-from, or correct the box", "box-convention")
    size = _PARTS if style in STEPS and to in STEPS else _size(conversation)
    pixels = box_of(box.numbers, style, seen_by(style, size))
    if not is_inside(pixels, size):
        found = f"the box {box.text} leaves the image, or has no area, as one of the style {style}"
        raise RecordError(place, "boxes", found, "Correct the box, or name another --boxes-from", "box-outside")
    return write_box(pixels, to, seen_by(to, size))


def _size(conversation: Conversation) -> Size:
    """Of the only image."""
    if len(conversation.images) > 1:
        found = f"{len(conversation.images)} images, and a box in pixels is of one of them"
        raise RecordError(conversation.place, "boxes", found, "Split the record by its images", "box-convention")
    try:
        return upright_size(conversation.images[0])
    except ImageError as error:
        raise RecordError(conversation.place, "image", error.found, error.advice, error.code) from error
