"""Boxes in texts that the model would not understand: in another style than its own, or outside the image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llm.formats.conversation import Conversation, ImageRef
from vlm.scores.box_styles import (
    QWEN_PIXELS,
    STEPS,
    BoxStyle,
    WrittenBox,
    box_of,
    is_inside,
    seen_by,
    written_boxes,
)
from vlm.vision.tiles import Size

SizeOf = Callable[[ImageRef], Size | None]  # None: the image is not read
_SHOWN = 60  # characters of a box that are quoted
_PARTS = (1000, 1000)  # the image of styles that count parts of it: its size does not matter


@dataclass(frozen=True, slots=True)
class BoxRules:
    """How the model of the data writes boxes, and the pixels of its processor (`box_styles.seen_by`)."""

    style: BoxStyle
    pixels: tuple[int, int, int] = QWEN_PIXELS


@dataclass(frozen=True, slots=True)
class BoxFault:
    """A box that is probably not what was meant: the code of its finding, the message's field, and the texts."""

    code: str
    field: str
    found: str
    advice: str


def box_faults(conversation: Conversation, rules: BoxRules | None, size_of: SizeOf) -> Iterator[BoxFault]:
    """The first box of each fault in each message of a record with images.

    Without rules only boxes in pixels are reported, which no model from parts understands.
    """
    if not conversation.images:
        return
    for number, message in enumerate(conversation.messages, 1):
        known: set[str] = set()
        for box in written_boxes(message.text):
            fault = _fault(box, rules, conversation.images, size_of)
            if fault is not None and fault[0] not in known:
                known.add(fault[0])
                yield BoxFault(fault[0], f"message {number} ({message.role})", *fault[1:])


def _fault(
    box: WrittenBox, rules: BoxRules | None, images: tuple[ImageRef, ...], size_of: SizeOf
) -> tuple[str, str, str] | None:
    """(code, what was found, what to do)."""
    shown = box.text[:_SHOWN]
    if (rules is None or rules.style == "llava") and "llava" not in box.styles and box.form not in ("braces", "loc"):
        advice = "Images are resized: write fractions of width and height, from 0 to 1"
        return "box-pixels", f"the box {shown} is in pixels", advice
    if rules is None:
        return None
    if rules.style not in box.styles:
        written = " or ".join(box.styles)
        advice = f"Rewrite the boxes: eyegraft data convert IN OUT --to FORMAT --boxes {rules.style}"
        return "box-convention", f"the box {shown} is in the style {written}, the model writes {rules.style}", advice
    size = _PARTS if rules.style in STEPS else size_of(images[0]) if len(images) == 1 else None
    if size is None:
        return None
    if not is_inside(box_of(box.numbers, rules.style, seen_by(rules.style, size, rules.pixels)), size):
        advice = "Correct it: left, top, right and bottom inside the image, in the style of the model"
        return "box-outside", f"the box {shown} leaves the image, or has no area", advice
    return None
