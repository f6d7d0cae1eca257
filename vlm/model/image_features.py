"""Image features of transformers' LLaVA-like classes."""

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor
from transformers import PreTrainedModel


class _ImageFeatures(Protocol):
    pooler_output: Sequence[Tensor]


class _LlavaLike(Protocol):
    def get_image_features(self, *, pixel_values: Tensor) -> _ImageFeatures: ...


def image_features(model: PreTrainedModel, pixel_values: Tensor) -> list[Tensor]:
    """[P, hidden of the LLM] for each image, as the model inserts them into its prompt."""
    return list(cast(_LlavaLike, model).get_image_features(pixel_values=pixel_values).pooler_output)
