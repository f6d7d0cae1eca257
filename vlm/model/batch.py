"""A pack of samples with images.

Each distinct image of a pack goes through the tower once, however many samples show it:

    samples         "<image> red?"(a.png)   "<image> blue?"(b.png)   "<image> round?"(a.png)
    distinct, U=2   a.png, b.png            a.png's features are cached, b.png's are not: K=1
    cached_features [features of a.png]     pixel_values [pixels of b.png]
    image_index     [0, 1, 0]               I=3 images in reading order, by number of the distinct one
    image_positions 3 * P positions of the pack, those of the image token
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import Sample
from llm.formats.conversation import ImageRef
from vlm.model.feature_cache import FeatureCache
from vlm.vision.images import Preprocess
from vlm.vision.video_frames import read_images


@dataclass(frozen=True, slots=True)
class VlmBatch:
    """A pack with I images of P tokens each, U of them distinct, of which K have cached features of C channels."""

    text: PackedBatch
    cached_features: Tensor  # [K, P, C]; [0] without cached features
    pixel_values: Tensor  # [U - K, 3, H, W]
    cache_keys: tuple[str, ...]  # keys under which to cache the features of pixel_values; empty: do not cache
    feature_order: Tensor  # [U], index of each distinct image in cat(cached_features, features of pixel_values)
    image_index: Tensor  # [I], the distinct image that each image of the pack is
    image_positions: Tensor  # [I * P], positions in the pack

    def __post_init__(self) -> None:
        images = len(self.image_index)
        assert images == 0 or len(self.image_positions) % images == 0, "every image has as many positions"
        assert bool(self.image_count) == bool(images), "distinct images without a use, or the reverse"
        assert len(self.cache_keys) in (0, len(self.pixel_values)), "a key for every image that is to be cached"

    @property
    def image_count(self) -> int:
        """U, the number of distinct images."""
        return len(self.cached_features) + len(self.pixel_values)

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of the records in the corpus."""
        return self.text.samples

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.text.tokens:,} tokens ({len(self.samples)} samples, {self.image_count} images)"

    def muted(self) -> "VlmBatch":
        """The same tokens and images without targets."""
        return replace(self, text=self.text.muted())

    def to(self, device: torch.device) -> "VlmBatch":
        """The same batch on another device."""
        return replace(
            self,
            text=self.text.to(device),
            cached_features=self.cached_features.to(device, non_blocking=True),
            pixel_values=self.pixel_values.to(device, non_blocking=True),
            feature_order=self.feature_order.to(device, non_blocking=True),
            image_index=self.image_index.to(device, non_blocking=True),
            image_positions=self.image_positions.to(device, non_blocking=True),
        )


def collate_vlm(
    samples: list[Sample],
    preprocess: Preprocess,
    image_id: int,
    image_tokens: int,
    indices: tuple[int, ...] = (),
    cache: FeatureCache | None = None,
) -> VlmBatch:
    """Pack samples, reading the pixels of their images or, where the cache holds them, their features.

    `image_id` is the image token, `image_tokens` how many of it an image takes (P); `indices` are the samples' numbers
    in the corpus. Raises ImageError for an image that cannot be read.
    """
    text = collate(samples, indices)
    images = [image for sample in samples for image in sample.images]
    distinct = {image: number for number, image in enumerate(dict.fromkeys(images))}
    lookup = _look_up(list(distinct), cache)
    computed = {image: number for number, image in enumerate([*lookup.cached, *lookup.missing])}
    positions = torch.nonzero(text.input_ids[0] == image_id)[:, 0]
    assert len(positions) == len(images) * image_tokens, (
        f"{len(positions)} image tokens for {len(images)} images of {image_tokens}"
    )
    return VlmBatch(
        text=text,
        cached_features=torch.stack(list(lookup.cached.values())) if lookup.cached else torch.empty(0),
        pixel_values=read_pixels(lookup.missing, preprocess),
        cache_keys=lookup.keys,
        feature_order=torch.tensor([computed[image] for image in distinct], dtype=torch.int64),
        image_index=torch.tensor([distinct[image] for image in images], dtype=torch.int64),
        image_positions=positions,
    )


@dataclass(frozen=True, slots=True)
class _CacheLookup:
    """Images with cached features, and the missing ones with the keys to cache theirs under."""

    cached: dict[ImageRef, Tensor]
    missing: list[ImageRef]
    keys: tuple[str, ...] = ()


def _look_up(images: list[ImageRef], cache: FeatureCache | None) -> _CacheLookup:
    if cache is None:
        return _CacheLookup({}, images)
    keys = {image: cache.key(image) for image in images}
    cached = {image: features for image, key in keys.items() if (features := cache.get(key)) is not None}
    missing = [image for image in images if image not in cached]
    return _CacheLookup(cached, missing, tuple(keys[image] for image in missing))


def read_pixels(images: list[ImageRef], preprocess: Preprocess) -> Tensor:
    """[U, 3, H, W] fp32. Raises ImageError for an image that cannot be read."""
    if not images:
        return torch.empty(0, 3, preprocess.size, preprocess.size)
    return torch.from_numpy(np.stack([preprocess(image) for image in read_images(images)]))
