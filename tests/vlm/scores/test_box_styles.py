"""Boxes in the styles of families of models: written, found in texts, and read back."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.scores.box_styles import (
    STEPS,
    STYLES,
    BoxStyle,
    box_of,
    is_inside,
    numbers_of,
    seen_by,
    write_box,
    written_boxes,
)

SIZE = (200, 100)
BOX = (20.0, 10.0, 100.0, 60.0)
# By hand: 200 x 100 is resized to 196 x 112 by multiples of 28.
WRITTEN: dict[BoxStyle, str] = {
    "llava": "[0.100, 0.100, 0.500, 0.600]",
    "xtuner": "{<10><10><50><60>}",
    "thousand": "[100, 100, 500, 600]",
    "paligemma": "<loc0102><loc0102><loc0614><loc0512>",
    "qwen2.5": "[20, 11, 98, 67]",
    "pixels": "[20, 10, 100, 60]",
}
sides = st.integers(28, 5000)
share = st.floats(0, 1)


@pytest.mark.parametrize("style", STYLES)
def test_each_style_by_hand(style: BoxStyle) -> None:
    geometry = seen_by(style, SIZE)
    assert write_box(BOX, style, geometry) == WRITTEN[style]
    [found] = written_boxes(f"The cat {WRITTEN[style]} sits.")
    assert found.text == WRITTEN[style] and style in found.styles
    np.testing.assert_allclose(box_of(found.numbers, style, geometry), BOX, atol=0.6)


def step(style: BoxStyle, size: tuple[int, int]) -> np.ndarray:
    """How many pixels of the image lie between two numbers that a style can write, of left, top, right and bottom."""
    if style in STEPS:
        parts = 1000 if style == "llava" else STEPS[style]  # three decimals
        return np.array([size[0] / parts, size[1] / parts] * 2)
    seen = seen_by(style, size).seen_size
    return np.array([size[0] / seen[0], size[1] / seen[1]] * 2)


@settings(max_examples=400, deadline=None)
@given(sides, sides, st.tuples(share, share, share, share), st.sampled_from(STYLES))
def test_a_box_survives_a_style(width: int, height: int, shares: tuple[float, ...], style: BoxStyle) -> None:
    """Within half of the smallest difference that the style can write; PaliGemma's last token stands for the edge."""
    left, right = sorted((shares[0] * width, shares[2] * width))
    top, bottom = sorted((shares[1] * height, shares[3] * height))
    box, geometry = (left, top, right, bottom), seen_by(style, (width, height))
    [found] = written_boxes(write_box(box, style, geometry))
    assert style in found.styles
    back = box_of(found.numbers, style, geometry)
    allowed = step(style, (width, height)) * (1.0 if style == "paligemma" else 0.5)
    assert (np.abs(np.array(back) - box) <= allowed + 1e-6).all()
    assert write_box(back, style, geometry) == found.text, "what was written is written again"


@settings(max_examples=400, deadline=None)
@given(sides, sides, st.tuples(share, share, share, share), st.sampled_from(list(product(STYLES, STYLES))))
def test_a_box_survives_from_one_style_to_another_and_back(
    width: int, height: int, shares: tuple[float, ...], pair: tuple[BoxStyle, BoxStyle]
) -> None:
    first, second = pair
    size = (width, height)
    left, right = sorted((shares[0] * width, shares[2] * width))
    top, bottom = sorted((shares[1] * height, shares[3] * height))
    one, other = seen_by(first, size), seen_by(second, size)
    start = box_of(numbers_of((left, top, right, bottom), first, one), first, one)
    between = box_of(numbers_of(start, second, other), second, other)
    end = box_of(numbers_of(between, first, one), first, one)
    half = step(first, size) * (1.0 if first == "paligemma" else 0.5)
    of_second = step(second, size) * (1.0 if second == "paligemma" else 0.5)
    assert (np.abs(np.array(end) - start) <= of_second + half + 1e-6).all()


@pytest.mark.parametrize(
    ("text", "styles"),
    [
        ("[0.1, 0.2, 0.5, 0.6]", ("llava",)),
        ("[0.1, 0.2, 1.5, 0.6]", ("llava",)),
        ("[0, 0, 1, 1]", ("llava", "thousand", "qwen2.5", "pixels")),
        ("[10, 20, 50, 60]", ("thousand", "qwen2.5", "pixels")),
        ("[10, 20, 1050, 60]", ("qwen2.5", "pixels")),
        ("[10.5, 20, 50, 60]", ("qwen2.5", "pixels")),
        ('{"bbox_2d": [10, 20, 50, 60], "label": "x"}', ("thousand", "qwen2.5", "pixels")),
        ("<box>(10,20),(50,60)</box>", ("thousand", "qwen2.5", "pixels")),
        ("<box>[[10, 20, 50, 60]]</box>", ("thousand", "qwen2.5", "pixels")),
        ("<|box_start|>(10,20),(50,60)<|box_end|>", ("thousand", "qwen2.5", "pixels")),
        ("{<1><2><3><4>}", ("xtuner",)),
        ("<loc0001><loc0002><loc0003><loc0004>", ("paligemma",)),
    ],
)
def test_what_numbers_may_mean(text: str, styles: tuple[BoxStyle, ...]) -> None:
    [found] = written_boxes(f"a {text} b")
    assert found.styles == styles


@pytest.mark.parametrize(
    "text", ["[1, 2, 3]", "[1, 2, 3, 4, 5]", "(1, 2)", "<loc0001>", "{<1><2>}", "[a, b, c, d]", ""]
)
def test_what_is_no_box(text: str) -> None:
    assert list(written_boxes(text)) == []


def test_tags_are_part_of_a_box_and_the_key_of_an_object_is_not() -> None:
    tagged, listed = "<box>(1,2),(3,4)</box>", '{"bbox_2d": [1, 2, 3, 4]}'
    assert [one.text for one in written_boxes(tagged)] == [tagged]
    [found] = written_boxes(listed)
    assert (found.text, found.form) == ("[1, 2, 3, 4]", "object")


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((0, 0, 200, 100), True),
        ((0, 0, 200.9, 100), True),
        ((-2, 0, 100, 50), False),
        ((0, 0, 100, 102), False),
        ((50, 10, 50, 20), False),
        ((50, 20, 60, 10), False),
    ],
)
def test_inside(box: tuple[float, float, float, float], inside: bool) -> None:
    assert is_inside(box, SIZE) is inside
