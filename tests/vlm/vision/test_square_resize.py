"""Padding to a square and resizing without the square: Pillow's pixels, in little memory."""

import json
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from transformers import LlavaImageProcessorPil

from vlm.vision.foreign_padding import spare_square
from vlm.vision.square_resize import RESAMPLE, pad_to_square, resize_without_square, square_is_affordable

GREY = (122, 116, 104)
SHAPES = [(1, 190), (199, 1), (37, 500), (640, 31), (333, 332), (2, 3), (64, 9), (1, 1), (1023, 57)]


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [1, 7, 56, 335])
def test_pixels_equal_those_of_the_padded_and_resized_square(
    resample: Literal["bicubic", "bilinear"], size: int
) -> None:
    for seed, (width, height) in enumerate(SHAPES):
        dice = np.random.default_rng(seed)
        values = (
            dice.integers(0, 2, (height, width, 3)) * 255 if seed % 2 else dice.integers(0, 256, (height, width, 3))
        )
        image = Image.fromarray(values.astype(np.uint8))
        square = pad_to_square(image, GREY).resize((size, size), RESAMPLE[resample])
        made = resize_without_square(image, size, GREY, resample)
        assert np.array_equal(made, np.asarray(square)), (width, height)


def test_a_long_screenshot_equals_its_square() -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5000, 40, 3)).astype(np.uint8))
    assert not square_is_affordable(image)
    square = pad_to_square(image, GREY).resize((24, 24), Image.Resampling.BICUBIC)
    assert np.array_equal(resize_without_square(image, 24, GREY, "bicubic"), np.asarray(square))


MEASURE = """
import io, json, resource, sys
from PIL import Image
from llm.formats.conversation import ImageRef
from vlm.vision.images import Preprocess, read_image

width, height, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
stream = io.BytesIO()
Image.new(mode, (width, height)).save(stream, "PNG")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
grey = (0.5, 0.5, 0.5)
shape = Preprocess(336, grey, grey)(read_image(ImageRef(data=stream.getvalue()))).shape
print(json.dumps([shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024]))
"""


@pytest.mark.parametrize(
    ("width", "height", "mode", "most"),
    [(1080, 29_000, "1", 400), (100_000, 500, "1", 600), (300, 60_000, "RGBA", 250)],
)
def test_memory_follows_the_image_and_not_its_square(width: int, height: int, mode: str, most: int) -> None:
    """MiB beyond the file's; the squares would take 3,200, 38,000 and 13,700."""
    command = [sys.executable, "-c", MEASURE, str(width), str(height), mode]
    shape, grown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert shape == [3, 336, 336]
    assert grown < most


@pytest.mark.parametrize("size", [{"height": 48, "width": 48}, {"shortest_edge": 48}])
def test_a_processor_that_pads_gives_the_same_pixels_of_the_spared_square(size: dict[str, int]) -> None:
    processor = LlavaImageProcessorPil(size=size, crop_size={"height": 48, "width": 48}, do_pad=True)
    settings = processor.to_dict()
    long = Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 4200, 3)).astype(np.uint8))
    spared = spare_square(long, settings)
    assert spared.size == (48, 48)
    pixels = [np.asarray(processor(image, return_tensors="np")["pixel_values"][0]) for image in (long, spared)]
    assert np.array_equal(*pixels)
    short = long.crop((0, 0, 100, 60))
    assert spare_square(short, settings) is short
    assert spare_square(long, settings | {"do_pad": False}) is long
    assert spare_square(long, settings | {"image_processor_type": "CLIPImageProcessor"}) is long
