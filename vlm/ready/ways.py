"""The ways in which a ready model's language model attends to a pack: which holds for a model, the proof finds out.

SPANS    our packed attention: causal, with shared prefixes. For models whose mask is causal.
RECORDS  the mask that the model itself makes for the pack, cut out for each record: images that attend to themselves
         both ways, sliding windows. No shared prefixes.
ALONE    each record of the pack by itself, with the attention of plain transformers.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llm.attention.interface import use_packed_attention

NAME = "eyegraft_records"


class Way(StrEnum):
    """How a language model attends to a pack."""

    SPANS = "spans"
    RECORDS = "records"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class RecordBounds:
    """Where the records of a pack begin and end: n + 1 ascending positions from 0."""

    bounds: tuple[int, ...]


def record_attention(
    module: nn.Module,
    query: Tensor,  # [1, heads, T, D]
    key: Tensor,  # [1, key_value_heads, T, D]
    value: Tensor,
    attention_mask: Tensor | None,  # [1, 1, T, T]
    scaling: float | None = None,
    dropout: float = 0.0,
    packed: RecordBounds | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """transformers' attention signature: SDPA record by record, each with its part of the mask. [1, T, heads, D]."""
    outputs: list[Tensor] = []
    if packed is None:  # one sequence, of which earlier positions may be in a cache
        states = (query, key, value)
        outputs.append(sdpa_attention_forward(module, *states, attention_mask, dropout=dropout, scaling=scaling)[0])
    for start, end in pairwise(packed.bounds if packed is not None else ()):
        part = slice(start, end)
        mask = None if attention_mask is None else attention_mask[:, :, part, part]
        states = (query[:, :, part], key[:, :, part], value[:, :, part])
        outputs.append(sdpa_attention_forward(module, *states, mask, dropout=dropout, scaling=scaling)[0])
    return torch.cat(outputs, 1), None


def use_way(text: PreTrainedModel, way: Way) -> None:
    """Make a model's language model attend in this way."""
    if way == Way.SPANS:
        use_packed_attention(text)
        return
    AttentionInterface.register(NAME, record_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    text.set_attn_implementation(NAME if way == Way.RECORDS else "sdpa")
