"""A pack of samples with images.

Each distinct image of a pack goes through the tower once, however many samples show it:

    samples         "<image> red?"(a.png)   "<image> blue?"(b.png)   "<image> round?"(a.png)
    distinct, U=2   a.png, b.png            a.png's features are cached, b.png's are not: K=1
    cached_features [features of a.png]     pixel_values [pixels of b.png]
    image_index     [0, 1, 0]               I=3 images in reading order, by number of the distinct one
    image_positions 3 * P positions of the pack, those of the image token

With tiles (vlm/vision/tiles.py) an image is several views, each of which goes through the tower as an image does above,
and `tiles` says which of their features are at `image_positions`; the newline rows are at positions of their own.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import Sample
from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.model.feature_cache import FeatureCache
from vlm.vision.images import Preprocess, name_of
from vlm.vision.tile_rows import places_of_tiles
from vlm.vision.video_frames import read_images


@dataclass(frozen=True, slots=True)
class TiledBatch:
    """What a pack with tiles has besides; there K and U count views instead of images, each of P features."""

    feature_rows: Tensor  # [F], for each of image_positions the feature it holds, among U * P
    newline_positions: Tensor  # [N], positions in the pack
    views: tuple[int, ...]  # of each image in pixel_values

    def to(self, device: torch.device) -> "TiledBatch":
        """The same on another device."""
        return replace(
            self,
            feature_rows=self.feature_rows.to(device, non_blocking=True),
            newline_positions=self.newline_positions.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class VlmBatch:
    """A pack with I images of P tokens each, U of them distinct, of which K have cached features of C channels."""

    text: PackedBatch
    cached_features: Tensor  # [K, P, C]; [0] without cached features
    pixel_values: Tensor  # [U - K, 3, H, W]
    cache_keys: tuple[str, ...]  # keys under which to cache the features of pixel_values; empty: do not cache
    feature_order: Tensor  # [U], index of each distinct image in cat(cached_features, features of pixel_values)
    image_index: Tensor  # [I], the distinct image that each image of the pack is
    image_positions: Tensor  # [I * P], positions in the pack; with tiles those of features alone
    tiles: TiledBatch | None = None

    def __post_init__(self) -> None:
        images, tiles = len(self.image_index), self.tiles
        assert bool(self.image_count) == bool(images), "distinct images without a use, or the reverse"
        if tiles is not None:
            assert len(tiles.feature_rows) == len(self.image_positions), "a feature for every position"
            assert sum(tiles.views) == len(self.pixel_values), "every view belongs to an image"
            assert len(self.cache_keys) in (0, len(tiles.views)), "a key for every image that is to be cached"
            return
        assert images == 0 or len(self.image_positions) % images == 0, "every image has as many positions"
        assert len(self.cache_keys) in (0, len(self.pixel_values)), "a key for every image that is to be cached"

    @property
    def image_count(self) -> int:
        """U, the number of distinct images; their views where they have tiles."""
        return len(self.cached_features) + len(self.pixel_values)

    @property
    def features_of_images(self) -> tuple[int, ...]:
        """How many of pixel_values each image has whose features are computed."""
        return (1,) * len(self.pixel_values) if self.tiles is None else self.tiles.views

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of the records in the corpus."""
        return self.text.samples

    def describe(self) -> str:
        """The size of the pack, for messages."""
        kind = "images" if self.tiles is None else "views of images"
        return f"{self.text.tokens:,} tokens ({len(self.samples)} samples, {self.image_count} {kind})"

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
            tiles=None if self.tiles is None else self.tiles.to(device),
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

    `image_id` is the image token, `image_tokens` how many of it an image or a view takes (P); `indices` are the numbers
    of the samples in the corpus. Raises ImageError for an image that cannot be read, or that has another size than when
    its tokens were counted.
    """
    text = collate(samples, indices)
    images = [image for sample in samples for image in sample.images]
    distinct = {image: number for number, image in enumerate(dict.fromkeys(images))}
    lookup = _look_up(list(distinct), cache)
    computed = _first_views([*lookup.cached, *lookup.missing])
    positions = torch.nonzero(text.input_ids[0] == image_id)[:, 0]
    tiles = None
    if preprocess.tiling is not None:
        starts = _first_views(list(distinct))
        shapes = [image.shape for image in images if image.shape is not None]
        placed = places_of_tiles(preprocess.tiling, image_tokens, shapes, [starts[image] for image in images])
        assert placed.total == len(positions), f"{len(positions)} image tokens for {placed.total} rows of images"
        of_missing = tuple(image.views for image in lookup.missing)
        tiles = TiledBatch(placed.features, positions[placed.newlines_at], of_missing)
        positions = positions[placed.features_at]
    else:
        assert len(positions) == len(images) * image_tokens, (
            f"{len(positions)} image tokens for {len(images)} images of {image_tokens}"
        )
    order = [computed[image] + view for image in distinct for view in range(image.views)]
    return VlmBatch(
        text=text,
        cached_features=torch.cat(list(lookup.cached.values())) if lookup.cached else torch.empty(0),
        pixel_values=read_pixels(lookup.missing, preprocess),
        cache_keys=lookup.keys,
        feature_order=torch.tensor(order, dtype=torch.int64),
        image_index=torch.tensor([distinct[image] for image in images], dtype=torch.int64),
        image_positions=positions,
        tiles=tiles,
    )


def _first_views(images: list[ImageRef]) -> dict[ImageRef, int]:
    """The number of each image's first view, when the views of these images follow each other."""
    ends = accumulate(image.views for image in images)
    return {image: end - image.views for image, end in zip(images, ends, strict=True)}


@dataclass(frozen=True, slots=True)
class _CacheLookup:
    """Images with cached features [views, P, C], and the missing ones with the keys to cache theirs under."""

    cached: dict[ImageRef, Tensor]
    missing: list[ImageRef]
    keys: tuple[str, ...] = ()


def _look_up(images: list[ImageRef], cache: FeatureCache | None) -> _CacheLookup:
    if cache is None:
        return _CacheLookup({}, images)
    keys = {image: cache.key(image) for image in images}
    found = {image: cache.get(key, image.views) for image, key in keys.items()}
    cached = {image: features for image, features in found.items() if features is not None}
    missing = [image for image in images if image not in cached]
    return _CacheLookup(cached, missing, tuple(keys[image] for image in missing))


def read_pixels(images: list[ImageRef], preprocess: Preprocess) -> Tensor:
    """[U, 3, H, W] fp32, the views of each image after those of the one before. ImageError as `collate_vlm`."""
    if not images:
        return torch.empty(0, 3, preprocess.size, preprocess.size)
    pixels = [_unchanged(*pair) for pair in zip(images, read_images(images), strict=True)]
    return torch.from_numpy(np.concatenate([preprocess.views(image) for image in pixels]))


def _unchanged(image: ImageRef, pixels: Image.Image) -> Image.Image:
    """The pixels. ImageError where their size is not that of the image's shape, by which its tokens were counted."""
    shape = image.shape
    if shape is not None and pixels.size != (shape.width, shape.height):
        was, now = f"{shape.width} x {shape.height}", f"{pixels.width} x {pixels.height}"
        found = f"is {now} pixels, and was {was} when the records were encoded"
        advice = "Bring the file back, or delete the run's cache folder so that they are encoded again"
        raise ImageError(found, advice, name_of(image), "image-changed")
    return pixels
