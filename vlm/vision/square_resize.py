"""An image padded to a square and resized, without the square in memory.

A square of a long screenshot's longer side takes gigabytes. Rows and columns of the padding keep their colour through
the resize, so only the outputs that the image reaches are computed: with Pillow's own fixed-point filter, whose result
they equal bit for bit (`precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's src/libImaging/Resample.c).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Resample = Literal["bicubic", "bilinear"]
Colour = tuple[int, int, int]

RESAMPLE: dict[Resample, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
SUPPORT: dict[Resample, float] = {"bicubic": 2.0, "bilinear": 1.0}  # of the filter, in outputs
BITS = 22  # of a weight's fraction
GROUP = 16  # outputs that are computed together
BLOCK = 1 << 20  # input values of one product
SMALL_SQUARE = 4096**2  # pixels of a square that is made whatever the image's shape: 64 MiB


def resize_padded(image: Image.Image, size: int, colour: Colour, resample: Resample) -> NDArray[np.uint8]:
    """[size, size, 3]: the RGB image centred on a square of `colour`, resized as Pillow resizes that square."""
    if square_is_affordable(image):
        return np.asarray(pad_to_square(image, colour).resize((size, size), RESAMPLE[resample]))
    return resize_without_square(image, size, colour, resample)


def square_is_affordable(image: Image.Image) -> bool:
    """Whether the square of the image's longer side takes no more than 64 MiB, or twice the image."""
    width, height = image.size
    return max(width, height) ** 2 <= max(SMALL_SQUARE, 2 * width * height)


def pad_to_square(image: Image.Image, colour: Colour) -> Image.Image:
    """The image centred on a square of its longer side; an odd pixel is added below or to the right."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def resize_without_square(image: Image.Image, size: int, colour: Colour, resample: Resample) -> NDArray[np.uint8]:
    """What `resize_padded` gives, for any image whose longer side is not `size`."""
    width, height = image.size
    side = max(width, height)
    taps = [_taps(output, side / size, side, resample) for output in range(size)]
    columns, across = _resample(np.asarray(image), (side - width) // 2, taps, colour)  # [height, columns, 3]
    rows, down = _resample(across.swapaxes(0, 1), (side - height) // 2, taps, colour)  # [columns, rows, 3]
    made = np.empty((size, size, 3), np.uint8)
    made[:] = colour
    made[rows, columns] = down.swapaxes(0, 1)
    return made


@dataclass(frozen=True, slots=True)
class _Taps:
    """The inputs that one output is the weighted sum of: `weights` (integers) from input `first` on."""

    first: int
    weights: NDArray[np.float64]

    @property
    def end(self) -> int:
        return self.first + len(self.weights)


def _taps(output: int, scale: float, inputs: int, resample: Resample) -> _Taps:
    wide = max(scale, 1.0)
    centre, reach = (output + 0.5) * scale, SUPPORT[resample] * wide
    first, end = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), inputs)
    x = np.abs((np.arange(end - first) + first - centre + 0.5) * (1.0 / wide))
    weights = _bicubic(x) if resample == "bicubic" else np.maximum(1.0 - x, 0.0)
    fractions = weights / np.add.accumulate(weights)[-1] * (1 << BITS)  # added in Pillow's order
    return _Taps(first, np.trunc(fractions + np.copysign(0.5, fractions)))


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pillow's cubic, a = -0.5, of distances."""
    near, far = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _resample(
    pixels: NDArray[np.uint8], offset: int, taps: list[_Taps], colour: Colour
) -> tuple[slice, NDArray[np.uint8]]:
    """The outputs that [lines, length, 3] reaches when it lies at `offset` among inputs of `colour`.

    Returns their range and [lines, outputs, 3]. Sums of 22-bit weights times bytes are exact in fp64.
    """
    lines, length, _ = pixels.shape
    reached = [number for number, one in enumerate(taps) if one.first < offset + length and one.end > offset]
    outputs = slice(reached[0], reached[-1] + 1)
    made = np.empty((lines, len(taps[outputs]), 3), np.uint8)
    for start in range(outputs.start, outputs.stop, GROUP):
        group = taps[start : min(start + GROUP, outputs.stop)]
        inside = slice(max(group[0].first, offset), min(group[-1].end, offset + length))
        weights, padding = _matrix(group, inside), _padding(group, inside, colour)
        step = max(1, BLOCK // (3 * (inside.stop - inside.start)))
        for line in range(0, lines, step):
            block = pixels[line : line + step, inside.start - offset : inside.stop - offset]
            sums = weights @ block.astype(np.float64) + padding  # [lines, group, 3]
            at = start - outputs.start
            made[line : line + step, at : at + len(group)] = _rounded(sums)
    return outputs, made


def _matrix(group: list[_Taps], inside: slice) -> NDArray[np.float64]:
    """[outputs, inputs inside] of weights."""
    matrix = np.zeros((len(group), inside.stop - inside.start))
    for row, one in zip(matrix, group, strict=True):
        first, end = max(one.first, inside.start), min(one.end, inside.stop)
        row[first - inside.start : end - inside.start] = one.weights[first - one.first : end - one.first]
    return matrix


def _padding(group: list[_Taps], inside: slice, colour: Colour) -> NDArray[np.float64]:
    """[outputs, 3]: the sums over the inputs that are padding."""
    outside = [
        one.weights.sum() - one.weights[max(inside.start - one.first, 0) : max(inside.stop - one.first, 0)].sum()
        for one in group
    ]
    return np.outer(outside, colour)


def _rounded(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.floor((sums + (1 << (BITS - 1))) / (1 << BITS)), 0, 255).astype(np.uint8)
