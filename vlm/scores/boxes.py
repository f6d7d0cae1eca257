"""Boxes in the usual conventions, and the overlap of two."""

from dataclasses import dataclass
from typing import Literal

from vlm.vision.geometry import Box as Box

Scale = Literal["pixels", "unit", "thousand"]
Layout = Literal["corners", "size"]


@dataclass(frozen=True, slots=True)
class BoxConvention:
    """How four numbers are a box: in pixels, as shares of the image's sides (0..1), or these times 1000.

    `corners`: left, top, right, bottom; `size`: left, top, width, height.
    """

    scale: Scale = "unit"
    layout: Layout = "corners"

    def box(self, numbers: Box, size: tuple[int, int]) -> Box:
        """The box in pixels; `size` is (width, height) of the image."""
        left, top, right, bottom = numbers
        if self.layout == "size":
            right, bottom = left + right, top + bottom
        if self.scale == "pixels":
            return left, top, right, bottom
        across, down = (side / (1000 if self.scale == "thousand" else 1) for side in size)
        return left * across, top * down, right * across, bottom * down

    def numbers(self, box: Box, size: tuple[int, int]) -> Box:
        """The four numbers of a box in pixels: the inverse of `box`."""
        across, down = (1.0, 1.0)
        if self.scale != "pixels":
            across, down = ((1000 if self.scale == "thousand" else 1) / side for side in size)
        left, top, right, bottom = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        return (left, top, right - left, bottom - top) if self.layout == "size" else (left, top, right, bottom)


UNIT = BoxConvention()
"""Corners as shares of the sides, as LLaVA writes them."""


def overlap(one: Box, other: Box) -> float:
    """Intersection over union; 0 for boxes without area."""
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (one, other)]
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if min(*areas, across, down) <= 0:
        return 0.0
    return across * down / (sum(areas) - across * down)
