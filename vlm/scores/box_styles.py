"""How families of models write boxes in their texts, and the boxes that a text holds.

| style | a box of an image of 200 x 100 from (20, 10) to (100, 60) |
|---|---|
| `llava` | `[0.100, 0.100, 0.500, 0.600]`: left, top, right, bottom as shares of the sides (LLaVA, lmms-eval) |
| `xtuner` | `{<10><10><50><60>}`: in hundredths (XTuner, MiniGPT-v2) |
| `thousand` | `[100, 100, 500, 600]`: in thousandths (Qwen-VL, Qwen2-VL, Qwen3-VL, InternVL) |
| `paligemma` | `<loc0102><loc0102><loc0614><loc0512>`: in 1024ths, top before left (PaliGemma) |
| `qwen2.5` | `[20, 11, 98, 67]`: pixels of the image as the model's processor resizes it, 196 x 112 here (Qwen2.5-VL) |
| `pixels` | `[20, 10, 100, 60]`: pixels of the image itself |

A list of whole numbers may be of several styles: what it means depends on who wrote it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from vlm.vision.geometry import Box, ImageGeometry, fitted, stretched
from vlm.vision.tiles import Size

BoxStyle = Literal["llava", "xtuner", "thousand", "paligemma", "qwen2.5", "pixels"]
STYLES: tuple[BoxStyle, ...] = get_args(BoxStyle)
STEPS: dict[BoxStyle, int] = {"llava": 1, "xtuner": 100, "thousand": 1000, "paligemma": 1024}
"""Parts that the side of an image has; the other styles count pixels."""

QWEN_PIXELS = (28, 3136, 12_845_056)
"""Factor, fewest and most pixels of the processor that Qwen2.5-VL was published with."""

Form = Literal["list", "tagged", "object", "braces", "loc"]
MOST_BOXES = 50  # of a text
LONGEST = 20_000  # characters of a text that are read

_NUMBER = r"\s*(-?\d{1,6}(?:\.\d{0,12})?|-?\.\d{1,12})\s*"
_FOUR = ",".join([_NUMBER] * 4)
_PAIRS = rf"\({_NUMBER},{_NUMBER}\)\s*,?\s*\({_NUMBER},{_NUMBER}\)"
_BOX = re.compile(
    rf"(?P<tagged>(?:<box>|<\|box_start\|>)\s*(?:{_PAIRS}|\[{{1,2}}{_FOUR}\]{{1,2}})\s*(?:</box>|<\|box_end\|>))"
    rf"|(?P<pairs>{_PAIRS})|(?P<list>\[{_FOUR}\])"
    r"|(?P<braces>\{\s*<(\d{1,4})><(\d{1,4})><(\d{1,4})><(\d{1,4})>\s*\})"
    r"|(?P<loc><loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>)"
)
_OBJECT = re.compile(r"\"bbox(?:_2d)?\"\s*:\s*$")  # before the list of a JSON object


@dataclass(frozen=True, slots=True)
class WrittenBox:
    """A box as it is in a text from `start` to `end`: its form, and its four numbers in the order of the text."""

    start: int
    end: int
    text: str
    form: Form
    numbers: Box

    @property
    def styles(self) -> tuple[BoxStyle, ...]:
        """The styles in which these numbers are a box; empty for numbers that are none of them."""
        if self.form == "braces":
            return ("xtuner",)
        if self.form == "loc":
            return ("paligemma",)
        are_whole = "." not in self.text
        if not are_whole and max(self.numbers) <= 2:  # a share above 1 is a box that leaves the image
            return ("llava",)
        pixels: tuple[BoxStyle, ...] = ("qwen2.5", "pixels")
        if not are_whole:
            return pixels
        parts: tuple[BoxStyle, ...] = ("llava", "thousand") if max(self.numbers) <= 1 else ("thousand",)
        return (*parts, *pixels) if max(self.numbers) <= 1000 else pixels


def written_boxes(text: str) -> Iterator[WrittenBox]:
    """The boxes of a text, at most MOST_BOXES: four numbers in one of the forms of the styles, or in tags or pairs."""
    count = 0
    for found in _BOX.finditer(text[:LONGEST]):
        digits = re.findall(r"-?\d*\.?\d+|-?\d+\.?", found[0])
        if len(digits) != 4 or count == MOST_BOXES:
            continue
        first, second, third, fourth = (float(digit) for digit in digits)
        kind = found.lastgroup
        form: Form = "braces" if kind == "braces" else "loc" if kind == "loc" else "list"
        if kind in ("tagged", "pairs"):
            form = "tagged"
        elif _OBJECT.search(text[max(0, found.start() - 20) : found.start()]):
            form = "object"
        count += 1
        yield WrittenBox(found.start(), found.end(), found[0], form, (first, second, third, fourth))


def box_of(numbers: Box, style: BoxStyle, geometry: ImageGeometry) -> Box:
    """Four numbers of a style as a box in pixels of the image: left, top, right, bottom."""
    if style == "qwen2.5":
        return geometry.back(numbers)
    if style == "pixels":
        return numbers
    left, top, right, bottom = _turned(numbers) if style == "paligemma" else numbers
    across, down = (side / STEPS[style] for side in geometry.size)
    return left * across, top * down, right * across, bottom * down


def numbers_of(box: Box, style: BoxStyle, geometry: ImageGeometry) -> Box:
    """A box in pixels of the image as four numbers of a style, rounded as its models write them."""
    if style == "qwen2.5":
        left, top, right, bottom = geometry.seen(box)
    elif style == "pixels":
        left, top, right, bottom = box
    else:
        across, down = (STEPS[style] / side for side in geometry.size)
        left, top, right, bottom = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    if style == "llava":
        return round(left, 3), round(top, 3), round(right, 3), round(bottom, 3)
    whole: Box = (round(left), round(top), round(right), round(bottom))
    if style != "paligemma":
        return whole
    last = STEPS[style] - 1  # the tokens end there
    top, left, bottom, right = (min(max(number, 0), last) for number in _turned(whole))
    return top, left, bottom, right


def write_box(box: Box, style: BoxStyle, geometry: ImageGeometry) -> str:
    """A box in pixels of the image, as models of a style write it."""
    numbers = numbers_of(box, style, geometry)
    if style == "llava":
        return f"[{', '.join(f'{number:.3f}' for number in numbers)}]"
    if style == "xtuner":
        return "{" + "".join(f"<{number:.0f}>" for number in numbers) + "}"
    if style == "paligemma":
        return "".join(f"<loc{number:04.0f}>" for number in numbers)
    return f"[{', '.join(f'{number:.0f}' for number in numbers)}]"


def is_inside(box: Box, size: Size, slack: float = 1.0) -> bool:
    """Whether a box has an area and is in an image of `size`, give or take `slack` pixels."""
    left, top, right, bottom = box
    within = left >= -slack and top >= -slack and right <= size[0] + slack and bottom <= size[1] + slack
    return within and right > left and bottom > top


def seen_by(style: BoxStyle, size: Size, pixels: tuple[int, int, int] = QWEN_PIXELS) -> ImageGeometry:
    """The geometry of an image for a style: `pixels` are factor, fewest and most pixels of Qwen2.5-VL's processor."""
    return fitted(size, *pixels) if style == "qwen2.5" else stretched(size, size)


def _turned(numbers: Box) -> Box:
    """Top and left, bottom and right, exchanged."""
    one, two, three, four = numbers
    return two, one, four, three
