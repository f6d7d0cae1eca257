"""The boxes that an answer names, with their labels, in the forms that models write."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vlm.scores.boxes import Box, BoxConvention

MOST_BOXES = 50
LONGEST = 20_000  # characters of an answer that are read
MOST_LABEL = 80  # characters
_NUMBER = r"\s*(\d{1,6}(?:\.\d{0,12})?|\.\d{1,12})\s*"
_FOUR = ",".join([_NUMBER] * 4)
_PAIRS = rf"\({_NUMBER},{_NUMBER}\)\s*,?\s*\({_NUMBER},{_NUMBER}\)"
# A name in Qwen's or InternVL's tags, then boxes; without special tokens only the pairs of brackets are left.
_NAMED = re.compile(r"(?:<ref>|<\|object_ref_start\|>)(.*?)(?:</ref>|<\|object_ref_end\|>)", re.DOTALL)
_BOX = re.compile(rf"{_PAIRS}|\[{_FOUR}\]")
_TAG = re.compile(r"<\|?/?[a-z_]+\|?>")
_JSON_BOX = re.compile(r"\{[^{}]*\"bbox(?:_2d)?\"[^{}]*\}")
THOUSAND, PIXELS, UNIT = BoxConvention("thousand"), BoxConvention("pixels"), BoxConvention("unit")


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box in pixels of the image, and what the answer calls it; empty where it has no name."""

    label: str
    box: Box


def read_boxes(answer: str, size: tuple[int, int]) -> list[NamedBox]:
    """The boxes of an answer about an image of `size` (width, height), at most MOST_BOXES.

    Known forms: `[0.1, 0.2, 0.5, 0.6]` as shares of the sides (LLaVA); `<ref>cat</ref><box>(100,200),(500,600)</box>`
    and `<box>[[100, 200, 500, 600]]</box>` in thousandths (Qwen-VL, InternVL), Qwen2-VL's tokens around the same, or
    neither tags nor tokens; `{"bbox_2d": [10, 20, 50, 60], "label": "cat"}` in pixels (Qwen2.5-VL).
    Four integers in a list of nothing else are no box: an answer may list numbers. What lies outside the image or
    has no area is left out.
    """
    found: list[NamedBox] = []
    for label, numbers, convention in _written(answer[:LONGEST]):
        box = _inside(convention.box(numbers, size), size)
        if box is not None and len(found) < MOST_BOXES:
            found.append(NamedBox(label[:MOST_LABEL], box))
    return found


def _written(answer: str) -> Iterator[tuple[str, Box, BoxConvention]]:
    objects = list(_JSON_BOX.finditer(answer))
    for found in objects:
        yield from _of_object(found[0])
    if objects:
        return
    end, label = 0, ""
    for found in _BOX.finditer(answer):
        before = answer[end : found.start()]
        named = _NAMED.findall(before)
        # Boxes that follow each other without a word between them have one name.
        label = named[-1].strip() if named else _words_before(before) or (label if end else "")
        end = found.end()
        groups = [float(number) for number in found.groups() if number is not None]
        numbers = (groups[0], groups[1], groups[2], groups[3])
        convention = _convention(numbers, found[0], before)
        if convention is not None:
            yield label, numbers, convention


def _convention(numbers: Box, written: str, before: str) -> BoxConvention | None:
    """How the numbers are meant; None for a list of integers without a tag, which may be anything."""
    if max(numbers) <= 1 and "." in written:
        return UNIT
    tagged = written.startswith("(") or "<box>" in before or "box_start" in before
    return THOUSAND if tagged and max(numbers) <= 1000 else None


def _of_object(text: str) -> Iterator[tuple[str, Box, BoxConvention]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    numbers = found.get("bbox_2d", found.get("bbox"))
    is_box = isinstance(numbers, list) and len(numbers) == 4 and all(type(one) in (int, float) for one in numbers)
    if is_box:
        left, top, right, bottom = (float(number) for number in numbers)
        label = found.get("label", "")
        convention = UNIT if max(numbers) <= 1 else PIXELS
        yield label if isinstance(label, str) else "", (left, top, right, bottom), convention


def _words_before(before: str) -> str:
    """The words on the line before a box, without tags, brackets and marks around them."""
    line = _TAG.sub(" ", before).rsplit("\n", 1)[-1]
    return re.split(r"[.;。；]\s", line)[-1].strip(" \t:：,，;；-*[](){}\"'`和=")


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box inside the image; None without one."""
    width, height = size
    left, top, right, bottom = max(0.0, box[0]), max(0.0, box[1]), min(width, box[2]), min(height, box[3])
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else None
