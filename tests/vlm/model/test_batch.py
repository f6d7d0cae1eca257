"""Packs with images, by hand: which are read, which are cached, and at which positions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from llm.data.batch import collate
from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef
from tests.llm.data.test_batch import blocking_copies, tensors_of
from vlm.model.batch import VlmBatch, collate_vlm, read_pixels
from vlm.model.feature_cache import FeatureCache
from vlm.vision.images import Preprocess

SLOT, ROWS, SIDE = 77, 2, 4
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
PLAIN = Preprocess(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", "resize")  # values are colours from 0 to 1


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, ImageRef]:
    """One colour each."""
    for name, colour in COLOURS.items():
        Image.new("RGB", (SIDE, SIDE), colour).save(tmp_path / f"{name}.png")
    return {name: ImageRef(str(tmp_path / f"{name}.png")) for name in COLOURS}


def sample(ids: list[int], *images: ImageRef) -> Sample:
    """Tokens whose last has a target."""
    labels = np.full(len(ids), IGNORED, np.int32)
    labels[-1] = 9
    return Sample(np.array(ids, np.int32), labels, images)


def three(pictures: dict[str, ImageRef]) -> list[Sample]:
    """Red and blue, no image, and blue again between words."""
    both = sample([1, SLOT, SLOT, SLOT, SLOT, 2], pictures["red"], pictures["blue"])
    return [both, sample([3, 4]), sample([5, SLOT, SLOT, 6], pictures["blue"])]


def packed(samples: list[Sample], cache: FeatureCache | None = None) -> VlmBatch:
    return collate_vlm(samples, PLAIN, SLOT, ROWS, (0, 1, 2), cache)


def test_each_image_is_read_once_and_has_all_its_positions(pictures: dict[str, ImageRef]) -> None:
    batch = packed(three(pictures))
    assert batch.image_positions.tolist() == [1, 2, 3, 4, 9, 10]
    assert batch.image_index.tolist() == [0, 1, 1] and batch.feature_order.tolist() == [0, 1] and batch.image_count == 2
    assert batch.pixel_values.dtype == torch.float32 and batch.pixel_values.shape == (2, 3, SIDE, SIDE)
    assert batch.pixel_values[:, :, 1, 2].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert len(batch.cached_features) == 0 and batch.cache_keys == () and batch.text.samples == (0, 1, 2)
    assert batch.text.input_ids.tolist() == [[1, SLOT, SLOT, SLOT, SLOT, 2, 3, 4, 5, SLOT, SLOT, 6]]


def test_cached_features_come_before_computed_ones(pictures: dict[str, ImageRef], tmp_path: Path) -> None:
    """White and blue are cached, red is not: `feature_order` indexes the cached ones, then the others."""
    cache = FeatureCache(tmp_path / "kept", ROWS, 3, torch.float32, 1 << 20)
    features = {"white": torch.full((ROWS, 3), 1.0), "blue": torch.full((ROWS, 3), 2.0)}
    for name, rows in features.items():
        cache.put(cache.key(pictures[name]), rows)
    samples = [*three(pictures), sample([SLOT, SLOT, 8], pictures["white"])]
    batch = packed(samples, cache)
    assert torch.equal(batch.cached_features, torch.stack([features["blue"], features["white"]])), (
        "as they are first shown"
    )
    assert batch.pixel_values[:, :, 0, 0].tolist() == [[1, 0, 0]] and batch.cache_keys == (cache.key(pictures["red"]),)
    assert batch.feature_order.tolist() == [2, 0, 1], "red after the two that are cached"
    assert batch.image_index.tolist() == [0, 1, 1, 2] and batch.image_count == 3


def test_a_pack_of_text_has_no_images(pictures: dict[str, ImageRef]) -> None:
    batch = packed([sample([3, 4])])
    assert batch.image_count == 0 and batch.pixel_values.shape == (0, 3, SIDE, SIDE)
    for tensor in (batch.image_index, batch.image_positions, batch.feature_order):
        assert tensor.shape == (0,) and tensor.dtype == torch.int64
    assert read_pixels([], PLAIN).shape == (0, 3, SIDE, SIDE)


def test_image_tokens_must_be_a_multiple_of_the_images(pictures: dict[str, ImageRef]) -> None:
    with pytest.raises(AssertionError, match="3 image tokens for 1 images of 2"):
        packed([sample([SLOT, SLOT, SLOT, 4], pictures["red"])])


def test_an_inconsistent_batch_cannot_be_made(pictures: dict[str, ImageRef]) -> None:
    batch = packed(three(pictures))
    nowhere = torch.empty(0, dtype=torch.int64)
    with pytest.raises(AssertionError, match="as many positions"):
        replace(batch, image_positions=batch.image_positions[:-1])
    with pytest.raises(AssertionError, match="distinct images without a use"):
        replace(batch, image_index=nowhere, image_positions=nowhere)
    with pytest.raises(AssertionError, match="a key for every image"):
        replace(batch, cache_keys=("one",))


def test_a_muted_batch_keeps_its_images(pictures: dict[str, ImageRef]) -> None:
    batch = packed(three(pictures))
    muted = batch.muted()
    assert muted.text.targets.tolist() == [IGNORED] * 3 and batch.text.targets.tolist() == [9] * 3
    assert muted.pixel_values is batch.pixel_values and muted.image_positions is batch.image_positions


def test_a_copy_to_a_card_does_not_wait(pictures: dict[str, ImageRef], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = packed(three(pictures))
    own = (batch.pixel_values, batch.feature_order, batch.image_index, batch.image_positions)
    assert not blocking_copies(batch, monkeypatch) & {tensor.data_ptr() for tensor in own}


def test_all_tensors_of_a_batch_move(pictures: dict[str, ImageRef]) -> None:
    batch = packed(three(pictures))
    moved = batch.to(torch.device("meta"))
    assert {tensor.device.type for tensor in tensors_of(moved)} == {"meta"}
    shapes = [[tensor.shape for tensor in tensors_of(one)] for one in (batch, moved)]
    assert shapes[0] == shapes[1] and len(shapes[0]) == 5 + len(list(tensors_of(collate(three(pictures)))))
