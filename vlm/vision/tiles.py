"""LLaVA-NeXT's tiles: an image as one view of all of it, then a grid of tiles at a higher resolution. No torch here.

An image of 2000 x 500 for a tower of 336 pixels and 24 x 24 patches, with LLaVA-NeXT's five resolutions, of which
1008 x 336 keeps most of its pixels:

    view 0           views 1, 2, 3
    +-------+        +-------+-------+-------+   3 lines of patches that are padding alone are left out
    |       |        |.......|.......|.......|
    | 24x24 |        | 24x24 | 24x24 | 24x24 |   the image resized to 1008 x 252: 18 lines of 72 patches
    |       |        |.......|.......|.......|
    +-------+        +-------+-------+-------+   3 lines of padding
    336 x 336, not in proportion

Rows of the language model: the 576 of view 0, then line by line the 72 patches of a line and one newline, 18 times 73:
1,890 in all. Every number here is that of transformers' LlavaNext, which rounds in three ways that are kept apart.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm.vision.square_resize import RESAMPLE, Resample

Size = tuple[int, int]  # width, height
Resolution = tuple[int, int]  # height, width, as in transformers' image_grid_pinpoints

NEWLINE = -1
"""In the order of an image's rows, the place of the trained newline row."""

# LLaVA-NeXT's own list, in sides of a tile: lines and columns.
DEFAULT_GRIDS: tuple[tuple[int, int], ...] = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of `side` pixels for images that are fitted into one of `resolutions`, all multiples of it."""

    side: int
    resolutions: tuple[Resolution, ...]

    def best(self, size: Size) -> Resolution:
        """The resolution that keeps most pixels of an image; of several the one with the least padding."""
        width, height = size
        best, most, least_waste = self.resolutions[0], 0, math.inf
        for lines, columns in self.resolutions:
            scale = min(columns / width, lines / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            waste = lines * columns - kept
            if kept > most or (kept == most and waste < least_waste):
                best, most, least_waste = (lines, columns), kept, waste
        return best

    def grid(self, size: Size) -> tuple[int, int]:
        """Lines and columns of an image's tiles."""
        height, width = self.best(size)
        return height // self.side, width // self.side

    def views(self, size: Size) -> int:
        """How many times the tower runs for an image: for all of it, and for each tile."""
        lines, columns = self.grid(size)
        return 1 + lines * columns

    def inner(self, size: Size) -> Size:
        """The size to which an image is resized inside its resolution, in proportion; the rest is black padding."""
        (width, height), (bottom, right) = size, self.best(size)
        across, down = right / width, bottom / height
        if across < down:
            return right, min(math.ceil(height * across), bottom)
        return min(math.ceil(width * down), right), bottom

    def offset(self, size: Size) -> tuple[int, int]:
        """The padding to the left of the resized image and above it."""
        (width, height), (bottom, right) = self.inner(size), self.best(size)
        return (right - width) // 2, (bottom - height) // 2

    def cut(self, image: Image.Image, resample: Resample) -> NDArray[np.uint8]:
        """[n, side, side, 3]: all of the RGB image, then its tiles line by line."""
        filter_, (height, width) = RESAMPLE[resample], self.best(image.size)
        canvas = Image.new("RGB", (width, height))
        canvas.paste(image.resize(self.inner(image.size), filter_), self.offset(image.size))
        side, pixels = self.side, np.asarray(canvas)
        tiles = pixels.reshape(height // side, side, width // side, side, 3).swapaxes(1, 2)
        base = np.asarray(image.resize((side, side), filter_))
        return np.concatenate([base[None], tiles.reshape(-1, side, side, 3)])

    def rows(self, size: Size, patches: int) -> int:
        """Rows of an image in the language model, for a tower with `patches` x `patches` rows a view."""
        return len(self.order(size, patches))

    def order(self, size: Size, patches: int) -> NDArray[np.int64]:
        """[rows]: the feature in each row, counted over the features of all views; NEWLINE after each line of tiles."""
        lines, columns = self.grid(size)
        each = patches * patches
        tiles = np.arange(each, (1 + lines * columns) * each).reshape(lines, columns, patches, patches)
        unpadded = _unpadded(tiles.swapaxes(1, 2).reshape(lines * patches, columns * patches), size)
        closed = np.concatenate([unpadded, np.full((len(unpadded), 1), NEWLINE)], axis=1)
        return np.concatenate([np.arange(each), closed.ravel()])


def default_resolutions(side: int) -> tuple[Resolution, ...]:
    """LLaVA-NeXT's five resolutions for tiles of `side` pixels."""
    return tuple((lines * side, columns * side) for lines, columns in DEFAULT_GRIDS)


def _unpadded(patches: NDArray[np.int64], size: Size) -> NDArray[np.int64]:
    """Without the lines or columns of padding, by transformers' `unpad_image`."""
    (lines, columns), (width, height) = patches.shape, size
    if width / height > columns / lines:
        padding = (lines - int(round(height * (columns / width), 7))) // 2
        return patches[padding : lines - padding]
    padding = (columns - int(round(width * (lines / height), 7))) // 2
    return patches[:, padding : columns - padding]
