"""A pack with pictures. Each distinct picture of a pack is read once, however many records show it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import Sample
from llm.formats.conversation import ImageRef
from vlm.model.feature_cache import FeatureStore
from vlm.vision.images import Preprocess, read_image


@dataclass(frozen=True, slots=True)
class VlmBatch:
    """U distinct pictures, I picture places, P rows each. The features of K pictures are known already."""

    text: PackedBatch
    known: Tensor  # [K, P, C]; [0] where no features are kept
    pixel_values: Tensor  # [U - K, 3, H, W]
    names: tuple[str, ...]  # under which the features of the others are to be kept; empty: they are not
    order: Tensor  # [U], where a picture stands among the known ones and, behind them, the others
    image_of: Tensor  # [I], which picture a place shows
    image_rows: Tensor  # [I * P], rows of the pack

    def __post_init__(self) -> None:
        places = len(self.image_of)
        assert places == 0 or len(self.image_rows) % places == 0, "every image place has equally many rows"
        assert bool(self.pictures) == bool(places), "pictures without a place, or places without a picture"
        assert len(self.names) in (0, len(self.pixel_values)), "a name for every picture that is to be kept"

    @property
    def pictures(self) -> int:
        """U, the number of distinct pictures."""
        return len(self.known) + len(self.pixel_values)

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of the records in the corpus."""
        return self.text.samples

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.text.tokens:,} tokens ({len(self.samples)} samples, {self.pictures} images)"

    def muted(self) -> "VlmBatch":
        """The same rows and pictures with nothing to learn."""
        return replace(self, text=self.text.muted())

    def to(self, device: torch.device) -> "VlmBatch":
        """The same batch on another device."""
        return replace(
            self,
            text=self.text.to(device),
            known=self.known.to(device, non_blocking=True),
            pixel_values=self.pixel_values.to(device, non_blocking=True),
            order=self.order.to(device, non_blocking=True),
            image_of=self.image_of.to(device, non_blocking=True),
            image_rows=self.image_rows.to(device, non_blocking=True),
        )


def collate_vlm(
    samples: list[Sample],
    preprocess: Preprocess,
    image_id: int,
    rows: int,
    indices: tuple[int, ...] = (),
    store: FeatureStore | None = None,
) -> VlmBatch:
    """Lay samples end to end and read their pictures, or their features where the store has them. `rows` is P."""
    text = collate(samples, indices)
    places = [image for sample in samples for image in sample.images]
    unique = {image: number for number, image in enumerate(dict.fromkeys(places))}
    seen = _look_up(list(unique), store)
    stands = {image: number for number, image in enumerate([*seen.known, *seen.others])}
    image_rows = torch.nonzero(text.input_ids[0] == image_id)[:, 0]
    assert len(image_rows) == len(places) * rows, f"{len(image_rows)} image rows for {len(places)} images of {rows}"
    return VlmBatch(
        text=text,
        known=torch.stack(list(seen.known.values())) if seen.known else torch.empty(0),
        pixel_values=read_pixels(seen.others, preprocess),
        names=seen.names,
        order=torch.tensor([stands[image] for image in unique], dtype=torch.int64),
        image_of=torch.tensor([unique[image] for image in places], dtype=torch.int64),
        image_rows=image_rows,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Pictures whose features are kept, and the others with the names under which theirs will be."""

    known: dict[ImageRef, Tensor]
    others: list[ImageRef]
    names: tuple[str, ...] = ()


def _look_up(images: list[ImageRef], store: FeatureStore | None) -> _Seen:
    if store is None:
        return _Seen({}, images)
    named = {image: store.name(image) for image in images}
    found = {image: features for image, name in named.items() if (features := store.get(name)) is not None}
    others = [image for image in images if image not in found]
    return _Seen(found, others, tuple(named[image] for image in others))


def read_pixels(images: list[ImageRef], preprocess: Preprocess) -> Tensor:
    """[U, 3, H, W] fp32."""
    if not images:
        return torch.empty(0, 3, preprocess.size, preprocess.size)
    return torch.from_numpy(np.stack([preprocess(read_image(image)) for image in images]))
