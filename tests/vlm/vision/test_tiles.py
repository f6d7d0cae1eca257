"""Tiles against transformers' LlavaNext: its resolution, pixels, rows and order, for sizes of every shape."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import LlavaNextConfig, LlavaNextProcessor
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

from vlm.vision.images import Preprocess
from vlm.vision.tiles import NEWLINE, Tiling, default_resolutions

SIDE, PATCHES = 32, 4
GRIDS = [default_resolutions(SIDE), ((32, 32),), ((64, 96), (96, 64), (32, 128))]
sides = st.integers(1, 1200)


def theirs(resolutions: tuple[tuple[int, int], ...], side: int = SIDE) -> LlavaNextImageProcessorPil:
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        do_center_crop=False,
        image_grid_pinpoints=[list(one) for one in resolutions],
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.2, 0.3, 0.4],
    )


@settings(max_examples=300, deadline=None)
@given(sides, sides, st.sampled_from(GRIDS))
def test_the_resolution_and_the_rows_are_llava_nexts(
    width: int, height: int, resolutions: tuple[tuple[int, int], ...]
) -> None:
    tiling = Tiling(SIDE, resolutions)
    pinpoints = [list(one) for one in resolutions]
    expected = select_best_resolution((height, width), pinpoints)
    if expected is None:  # an image of which no resolution keeps a pixel: LlavaNext fails
        return
    assert tiling.best((width, height)) == expected
    counter: Any = LlavaNextProcessor.__new__(LlavaNextProcessor)
    counter.image_processor, counter.patch_size = theirs(resolutions), SIDE // PATCHES
    counter.num_additional_image_tokens = 0
    assert tiling.rows((width, height), PATCHES) == counter._get_number_of_features(height, width, SIDE, SIDE)


def test_the_rows_of_a_wide_screenshot_are_those_of_the_drawing() -> None:
    tiling = Tiling(336, default_resolutions(336))
    assert (tiling.best((2000, 500)), tiling.inner((2000, 500)), tiling.offset((2000, 500))) == (
        (336, 1008),
        (1008, 252),
        (0, 42),
    )
    assert (tiling.views((2000, 500)), tiling.rows((2000, 500), 24)) == (4, 576 + 18 * 73)


@pytest.mark.parametrize("size", [(200, 50), (50, 200), (90, 50), (32, 32), (7, 300), (64, 64), (33, 31)])
@pytest.mark.parametrize("resolutions", GRIDS)
def test_pixels_and_their_order_are_llava_nexts(
    size: tuple[int, int], resolutions: tuple[tuple[int, int], ...]
) -> None:
    width, height = size
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(noise)
    preprocess = Preprocess(SIDE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", "anyres", resolutions)
    found = preprocess.views(image)
    made = theirs(resolutions)(image, return_tensors="np")
    np.testing.assert_allclose(found, made["pixel_values"][0], atol=1e-5)
    assert made["image_sizes"].tolist() == [[height, width]]
    np.testing.assert_array_equal(preprocess(image), found[0])
    assert preprocess.tiling is not None and len(found) == preprocess.tiling.views(size)
    order = preprocess.tiling.order(size, PATCHES)
    np.testing.assert_array_equal(order, _packed(size, resolutions, len(found)))


def _packed(size: tuple[int, int], resolutions: tuple[tuple[int, int], ...], views: int) -> list[int]:
    """The order in which LlavaNextModel packs features that are their own numbers."""
    config = LlavaNextConfig(image_grid_pinpoints=[list(one) for one in resolutions])
    config.vision_config.image_size, config.vision_config.patch_size = SIDE, SIDE // PATCHES
    model: Any = LlavaNextModel.__new__(LlavaNextModel)
    torch.nn.Module.__init__(model)
    model.config = config
    numbers = torch.arange(views * PATCHES**2, dtype=torch.float64).view(views, PATCHES**2, 1)
    sizes = torch.tensor([[size[1], size[0]]])
    [packed], _ = model.pack_image_features([numbers], sizes, "default", torch.tensor([float(NEWLINE)]))
    return [int(number) for number in packed[:, 0]]


def test_a_fingerprint_names_the_resolutions() -> None:
    plain = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    made = [Preprocess(32, *plain, "anyres", resolutions).fingerprint() for resolutions in GRIDS]
    made += [Preprocess(32, *plain, mode).fingerprint() for mode in ("pad", "resize")]
    assert len(set(made)) == len(made)
