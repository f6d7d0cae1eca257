"""How an image became what a tower saw, and where a box of the image is there. No torch here.

Every way of preparing an image keeps straight lines straight and sides parallel: it scales the image in both directions
and moves it. A view is one square or rectangle that the tower sees, in which pixel (x, y) of the image is at
(x * across + left, y * down + top); parts outside the view are cut off, and the rest of the view is padding.
"""

import math
from dataclasses import dataclass

from vlm.vision.tiles import Size, Tiling

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True)
class View:
    """What the tower sees at once: its size in pixels, and how pixels of the image are scaled and moved into it."""

    width: int
    height: int
    across: float
    down: float
    left: float = 0.0
    top: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """The views of an image of `size` (width, height) in pixels; the first shows all of it, unless it was cropped."""

    size: Size
    views: tuple[View, ...]

    def seen(self, box: Box, view: int = 0) -> Box:
        """A box of the image in pixels of a view; it may reach out of the view."""
        one = self.views[view]
        left, top, right, bottom = box
        return (
            left * one.across + one.left,
            top * one.down + one.top,
            right * one.across + one.left,
            bottom * one.down + one.top,
        )

    def back(self, box: Box, view: int = 0) -> Box:
        """A box of a view in pixels of the image: the inverse of `seen`."""
        one = self.views[view]
        left, top, right, bottom = box
        return (
            (left - one.left) / one.across,
            (top - one.top) / one.down,
            (right - one.left) / one.across,
            (bottom - one.top) / one.down,
        )

    @property
    def seen_size(self) -> Size:
        """Width and height of the first view."""
        return self.views[0].width, self.views[0].height


def stretched(size: Size, to: Size) -> ImageGeometry:
    """Resized to `to`, whatever the ratio of the sides."""
    return ImageGeometry(size, (View(*to, to[0] / size[0], to[1] / size[1]),))


def padded(size: Size, side: int) -> ImageGeometry:
    """Centred on a square of the longer side, which is resized to `side`; as `vlm.vision.square_resize`."""
    width, height = size
    longer = max(size)
    scale = side / longer
    return ImageGeometry(
        size, (View(side, side, scale, scale, (longer - width) // 2 * scale, (longer - height) // 2 * scale),)
    )


def cropped(size: Size, edge: int, crop: Size) -> ImageGeometry:
    """Resized until the shorter side is `edge`, then cut to `crop` from the middle, as CLIP's processors do."""
    width, height = size
    shorter, longer = min(size), int(edge * max(size) / min(size))
    to = (edge, longer) if width == shorter else (longer, edge)
    left, top = -((to[0] - crop[0]) // 2), -((to[1] - crop[1]) // 2)
    return ImageGeometry(size, (View(*crop, to[0] / width, to[1] / height, left, top),))


def fitted(size: Size, factor: int, least: int, most: int) -> ImageGeometry:
    """Resized nearly in proportion to multiples of `factor`, of `least` to `most` pixels, as by Qwen-VL's processor."""
    to = [round(side / factor) * factor for side in size]
    if to[0] * to[1] > most:
        shrink = math.sqrt(size[0] * size[1] / most)
        to = [max(factor, math.floor(side / shrink / factor) * factor) for side in size]
    elif to[0] * to[1] < least:
        grow = math.sqrt(least / (size[0] * size[1]))
        to = [math.ceil(side * grow / factor) * factor for side in size]
    return stretched(size, (to[0], to[1]))


def tiled(size: Size, tiling: Tiling) -> ImageGeometry:
    """All of the image resized to a square, then tiles of the image that was resized in proportion."""
    inner, offset, side = tiling.inner(size), tiling.offset(size), tiling.side
    across, down = inner[0] / size[0], inner[1] / size[1]
    lines, columns = tiling.grid(size)
    tiles = (
        View(side, side, across, down, offset[0] - column * side, offset[1] - line * side)
        for line in range(lines)
        for column in range(columns)
    )
    return ImageGeometry(size, (*stretched(size, (side, side)).views, *tiles))
