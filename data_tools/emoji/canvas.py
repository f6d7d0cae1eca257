"""Drawings laid on a canvas: pale backgrounds of five kinds, random sizes and places, no overlap, and exact boxes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SINGLE = 64  # pixels per side of an image of one drawing: easy-VQA's size
SCENE = 128  # of a scene: what the quickstart's tower takes
GAP = 2  # pixels between drawings
TRIES = 200  # places tried before drawings are made smaller
LOWEST = 150  # of a colour's channels: dark drawings must be seen


class Box(NamedTuple):
    """Pixels [x1, y1, x2, y2); x2 and y2 are the first after the drawing."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def middle(self) -> float:
        """Of its width, from the left."""
        return (self.x1 + self.x2) / 2


@dataclass(frozen=True, slots=True)
class Composed:
    """An image and the box of each drawing, in the order they were given."""

    image: Image.Image
    boxes: tuple[Box, ...]


def compose_single(glyph: Image.Image, rng: random.Random) -> Composed:
    """One drawing that fills 60 to 90 % of a small canvas."""
    return _compose([glyph], SINGLE, (0.6, 0.9), rng)


def compose_scene(glyphs: Sequence[Image.Image], rng: random.Random) -> Composed:
    """Two to five drawings on a large canvas, each 22 to 40 % of its side."""
    return _compose(glyphs, SCENE, (0.22, 0.4), rng)


def _compose(glyphs: Sequence[Image.Image], side: int, share: tuple[float, float], rng: random.Random) -> Composed:
    canvas = Image.fromarray(_background(side, rng))
    scales = [rng.uniform(*share) for _ in glyphs]
    while (
        boxes := _place([_fitted(glyph, side * scale) for glyph, scale in zip(glyphs, scales, strict=True)], side, rng)
    ) is None:
        scales = [scale * 0.9 for scale in scales]
    for glyph, box in zip(glyphs, boxes, strict=True):
        drawn = glyph.resize((box.x2 - box.x1, box.y2 - box.y1), Image.Resampling.LANCZOS)
        canvas.paste(drawn, (box.x1, box.y1), drawn)
    return Composed(canvas, tuple(boxes))


def _fitted(glyph: Image.Image, longest: float) -> tuple[int, int]:
    """Width and height with the longer side `longest`."""
    scale = longest / max(glyph.size)
    return max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))


def _place(sizes: Sequence[tuple[int, int]], side: int, rng: random.Random) -> list[Box] | None:
    """Boxes of these sizes that do not touch, or None when none was found."""
    placed: list[Box] = []
    for width, height in sizes:
        for _ in range(TRIES):
            x, y = rng.randint(0, side - width), rng.randint(0, side - height)
            box = Box(x, y, x + width, y + height)
            if not any(_touch(box, other) for other in placed):
                placed.append(box)
                break
        else:
            return None
    return placed


def _touch(one: Box, other: Box) -> bool:
    apart = one.x2 + GAP <= other.x1 or other.x2 + GAP <= one.x1 or one.y2 + GAP <= other.y1 or other.y2 + GAP <= one.y1
    return not apart


def _background(side: int, rng: random.Random) -> NDArray[np.uint8]:
    """RGB [side, side, 3]: plain, a gradient, stripes, checks or dots of two pale colours."""
    first, second = (np.array([rng.randint(LOWEST, 255) for _ in range(3)]) for _ in range(2))
    y, x = np.mgrid[:side, :side]
    period = rng.randint(6, 20)
    kind = rng.randrange(5)
    if kind == 0:
        weight = np.zeros((side, side), int)
    elif kind == 1:
        weight = (y if rng.random() < 0.5 else x) * 255 // (side - 1)
    elif kind == 2:
        weight = 255 * ((x + rng.randint(-1, 1) * y) // period % 2)
    elif kind == 3:
        weight = 255 * ((x // period + y // period) % 2)
    else:
        weight = 255 * (((x % period - period // 2) ** 2 + (y % period - period // 2) ** 2) <= (period // 4) ** 2)
    mixed = (first * (255 - weight[..., None]) + second * weight[..., None]) // 255
    return np.asarray(mixed, np.uint8)
