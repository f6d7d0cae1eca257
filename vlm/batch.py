"""A pack with pictures. Each distinct picture of a pack is read once, however many records show it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llm.batch import PackedBatch, collate
from llm.conversation import ImageRef
from llm.encode import Sample
from vlm.images import Preprocess, read_image


@dataclass(frozen=True, slots=True)
class VlmBatch:
    """U distinct pictures, I picture places, P rows each."""

    text: PackedBatch
    pixel_values: Tensor  # [U, 3, H, W]
    image_of: Tensor  # [I], which picture a place shows
    image_rows: Tensor  # [I * P], rows of the pack

    def __post_init__(self) -> None:
        places = len(self.image_of)
        assert places == 0 or len(self.image_rows) % places == 0, "every image place has equally many rows"
        assert bool(len(self.pixel_values)) == bool(places), "pictures without a place, or places without a picture"

    def to(self, device: torch.device) -> "VlmBatch":
        """The same batch on another device."""
        return replace(
            self,
            text=self.text.to(device),
            pixel_values=self.pixel_values.to(device, non_blocking=True),
            image_of=self.image_of.to(device, non_blocking=True),
            image_rows=self.image_rows.to(device, non_blocking=True),
        )


def collate_vlm(
    samples: list[Sample], preprocess: Preprocess, image_id: int, rows: int, indices: tuple[int, ...] = ()
) -> VlmBatch:
    """Lay samples end to end and read their pictures. `rows` is P."""
    text = collate(samples, indices)
    places = [image for sample in samples for image in sample.images]
    unique = {image: number for number, image in enumerate(dict.fromkeys(places))}
    image_rows = torch.nonzero(text.input_ids[0] == image_id)[:, 0]
    assert len(image_rows) == len(places) * rows, f"{len(image_rows)} image rows for {len(places)} images of {rows}"
    return VlmBatch(
        text=text,
        pixel_values=read_pixels(list(unique), preprocess),
        image_of=torch.tensor([unique[image] for image in places], dtype=torch.int64),
        image_rows=image_rows,
    )


def read_pixels(images: list[ImageRef], preprocess: Preprocess) -> Tensor:
    """[U, 3, H, W] fp32."""
    if not images:
        return torch.empty(0, 3, preprocess.size, preprocess.size)
    return torch.from_numpy(np.stack([preprocess(read_image(image)) for image in images]))
