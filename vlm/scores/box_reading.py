"""The boxes that an answer names, with their labels, in the forms that models write."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vlm.scores.box_styles import LONGEST, BoxStyle, WrittenBox, box_of, written_boxes
from vlm.vision.geometry import Box, ImageGeometry, stretched

MOST_LABEL = 80  # characters
# A name in Qwen's or InternVL's tags; without special tokens only brackets are left.
_NAMED = re.compile(r"(?:<ref>|<\|object_ref_start\|>)(.*?)(?:</ref>|<\|object_ref_end\|>)", re.DOTALL)
_TAG = re.compile(r"<\|?/?[a-z_]+\|?>")
_JSON_BOX = re.compile(r"\{[^{}]*\"bbox(?:_2d)?\"[^{}]*\}")


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box in pixels of the image, and what the answer calls it; empty where it has no name."""

    label: str
    box: Box


def read_boxes(
    answer: str, size: tuple[int, int], style: BoxStyle | None = None, geometry: ImageGeometry | None = None
) -> list[NamedBox]:
    """The boxes of an answer about an image of `size` (width, height), at most `box_styles.MOST_BOXES`.

    `style` is how the model writes boxes; numbers that are no box in it are none. Without it each box says itself what
    it is: `[0.1, 0.2, 0.5, 0.6]` shares of the sides, tags and pairs thousandths, `{"bbox_2d": [10, 20, 50, 60],
    "label": "cat"}` pixels, and the forms that one style alone has; four integers in a list of nothing else are none,
    since an answer may list numbers. `geometry` is that of the image in the model. What lies outside the image or has
    no area is left out.
    """
    way = geometry or stretched(size, size)
    found: list[NamedBox] = []
    for label, written in _labelled(answer[:LONGEST]):
        meant = _meant(written) if style is None else style if style in written.styles else None
        box = None if meant is None else _inside(box_of(written.numbers, meant, way), size)
        if box is not None:
            found.append(NamedBox(label[:MOST_LABEL], box))
    return found


def _meant(written: WrittenBox) -> BoxStyle | None:
    """The style of a box by its form alone."""
    if len(written.styles) == 1:
        return written.styles[0]
    if written.form == "object":
        return "llava" if max(written.numbers) <= 1 else "pixels"
    return "thousand" if written.form == "tagged" and "thousand" in written.styles else None


def _labelled(answer: str) -> Iterator[tuple[str, WrittenBox]]:
    boxes = list(written_boxes(answer))
    objects = list(_JSON_BOX.finditer(answer))
    if objects:
        labels = {found.span(): _label_of_object(found[0]) for found in objects}
        for written in boxes:
            of = next((label for (start, end), label in labels.items() if start < written.start < end), None)
            if of is not None and written.form == "object":
                yield of, written
        return
    end, label = 0, ""
    for written in boxes:
        before = answer[end : written.start]
        named = _NAMED.findall(before)
        # Boxes that follow each other without a word between them have one name.
        label = named[-1].strip() if named else _words_before(before) or (label if end else "")
        end = written.end
        yield label, written


def _label_of_object(text: str) -> str | None:
    """The label of a JSON object with a box, empty without one; None for text that is no object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    label = found.get("label", "")
    return label if isinstance(label, str) else ""


def _words_before(before: str) -> str:
    """The words on the line before a box, without tags, brackets and marks around them."""
    line = _TAG.sub(" ", before).rsplit("\n", 1)[-1]
    return re.split(r"[.;。；]\s", line)[-1].strip(" \t:：,，;；-*[](){}\"'`和=")


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box inside the image; None without one."""
    width, height = size
    left, top, right, bottom = max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else None
