"""Where boxes are after an image was prepared: against painted boxes, and against transformers' processors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from vlm.vision.geometry import Box, ImageGeometry, cropped, fitted, padded, stretched, tiled
from vlm.vision.images import ImageMode, Preprocess
from vlm.vision.tiles import Tiling, default_resolutions

SIDE = 96
BLACK, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
MODES: list[ImageMode] = ["pad", "resize", "anyres"]
sides = st.integers(60, 700)
share = st.floats(0, 1)


def preprocess(mode: ImageMode) -> Preprocess:
    return Preprocess(SIDE, BLACK, ONES, "bilinear", mode, default_resolutions(SIDE) if mode == "anyres" else ())


def painted(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """A white box on black."""
    image = Image.new("RGB", size)
    image.paste("white", box)
    return image


def measured(view: NDArray[np.float32]) -> Box:
    """The edges of the white box in a view [3, H, W]: centre and extent of its light in each direction."""
    light = view[0].astype(np.float64)
    middle = np.unravel_index(np.argmax(light), light.shape)
    edges = []
    for profile in (light[middle[0]], light[:, middle[1]]):
        extent = profile.sum() / light.max()
        centre = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
        edges.append((centre - extent / 2, centre + extent / 2))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.tuples(share, share, share, share), st.sampled_from(MODES))
def test_a_painted_box_is_where_the_geometry_says(
    width: int, height: int, shares: tuple[float, float, float, float], mode: ImageMode
) -> None:
    """Within half a pixel of the view, and of the image on the way back. Read in every view that holds the box."""
    assume(max(width, height) <= 3 * min(width, height))
    way = preprocess(mode)
    geometry = way.geometry((width, height))
    box = _box((width, height), shares)
    views = way.views(painted((width, height), box))
    assert len(views) == len(geometry.views)
    read = 0
    for number, view in enumerate(views):
        expected, one = geometry.seen(box, number), geometry.views[number]
        if min(expected) < 2 or expected[2] > one.width - 2 or expected[3] > one.height - 2:
            continue  # not all of it is in this view
        if min(expected[2] - expected[0], expected[3] - expected[1]) < 4:
            continue  # too thin to be measured
        found = measured(view)
        assert np.abs(np.array(found) - expected).max() <= 0.5, (number, found, expected)
        assert np.abs(np.array(geometry.back(found, number)) - box).max() <= max(0.5, 0.5 / min(one.across, one.down))
        read += 1
    assume(read)


def _box(size: tuple[int, int], shares: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """A box of at least an eighth of each side."""
    edges = []
    for side, start, extent in ((size[0], *shares[:2]), (size[1], *shares[2:])):
        length = round(side / 8 + extent * side / 2)
        first = round(start * (side - length))
        edges.append((first, first + length))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


geometries = st.builds(
    lambda kind, size: {
        "stretched": lambda: stretched(size, (336, 336)),
        "padded": lambda: padded(size, 336),
        "cropped": lambda: cropped(size, 224, (224, 224)),
        "fitted": lambda: fitted(size, 28, 3136, 1003520),
        "tiled": lambda: tiled(size, Tiling(336, default_resolutions(336))),
    }[kind](),
    st.sampled_from(["stretched", "padded", "cropped", "fitted", "tiled"]),
    st.tuples(st.integers(30, 4000), st.integers(30, 4000)),
)


@settings(max_examples=300, deadline=None)
@given(geometries, st.tuples(share, share, share, share), st.data())
def test_a_box_comes_back(geometry: ImageGeometry, shares: tuple[float, ...], data: Any) -> None:
    """Exactly and, when its edges are rounded to pixels of the view, within half of one."""
    view = data.draw(st.integers(0, len(geometry.views) - 1))
    edges: Any = tuple(one * geometry.size[number % 2] for number, one in enumerate(shares))
    box: Box = edges
    seen = geometry.seen(box, view)
    np.testing.assert_allclose(geometry.back(seen, view), box, atol=1e-6)
    rounded: Any = tuple(round(edge) for edge in seen)
    one = geometry.views[view]
    error = np.abs(np.array(geometry.seen(geometry.back(rounded, view), view)) - seen)
    assert error.max() <= 0.5 + 1e-6
    half = np.array([0.5 / one.across, 0.5 / one.down] * 2)
    assert (np.abs(np.array(geometry.back(rounded, view)) - box) <= half + 1e-6).all()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(30, 5000),
    st.integers(30, 5000),
    st.sampled_from([28, 32]),
    st.sampled_from([(3136, 1003520), (65536, 200000)]),
)
def test_sizes_that_are_fitted_are_qwens(width: int, height: int, factor: int, bounds: tuple[int, int]) -> None:
    assume(max(width, height) <= 200 * min(width, height))
    expected = smart_resize(height, width, factor, *bounds)
    assert fitted((width, height), factor, *bounds).seen_size == (expected[1], expected[0])


@pytest.mark.parametrize("size", [(200, 120), (120, 200), (300, 100), (97, 101)])
def test_a_crop_is_clips(size: tuple[int, int]) -> None:
    """The box is painted in the middle, which every crop keeps."""
    geometry = cropped(size, 64, (64, 64))
    middle = [side // 2 for side in size]
    box = (middle[0] - 15, middle[1] - 20, middle[0] + 25, middle[1] + 10)
    options: dict[str, Any] = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    kind: Any = CLIPImageProcessorPil
    processor = kind(**options, resample=Image.Resampling.BILINEAR, do_normalize=False)
    view = processor(painted(size, box), return_tensors="np")["pixel_values"][0]
    assert np.abs(np.array(measured(view)) - geometry.seen(box)).max() <= 0.5
