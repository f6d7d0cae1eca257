"""Where the features of tiled images, and the newline rows between them, go among the images' tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.formats.conversation import ImageShape
from vlm.vision.tiles import NEWLINE, Tiling


@dataclass(frozen=True, slots=True)
class TilePlaces:
    """Of R rows, those of images one after the other, which hold features and which newlines."""

    features_at: Tensor  # [F]
    newlines_at: Tensor  # [N]
    features: Tensor  # [F], the feature of each, counted over all views of the images

    @property
    def total(self) -> int:
        """R."""
        return len(self.features_at) + len(self.newlines_at)

    def to(self, device: torch.device) -> "TilePlaces":
        """The same on another device."""
        return TilePlaces(self.features_at.to(device), self.newlines_at.to(device), self.features.to(device))


def places_of_tiles(
    tiling: Tiling, view_tokens: int, shapes: Sequence[ImageShape], first_views: Sequence[int] | None = None
) -> TilePlaces:
    """The places of the rows of images, whose views have `view_tokens` features each.

    `first_views` are the views with which the images begin; by default these follow each other.
    """
    patches = math.isqrt(view_tokens)
    starts = np.cumsum([0, *(shape.views for shape in shapes)])[:-1].tolist() if first_views is None else first_views
    orders: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for shape, start in zip(shapes, starts, strict=True):
        order = tiling.order((shape.width, shape.height), patches)
        orders.append(np.where(order == NEWLINE, NEWLINE, order + start * view_tokens))
    joined = torch.from_numpy(np.concatenate(orders))
    is_feature = joined != NEWLINE
    return TilePlaces(torch.nonzero(is_feature)[:, 0], torch.nonzero(~is_feature)[:, 0], joined[is_feature])
