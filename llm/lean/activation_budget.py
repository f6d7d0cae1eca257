"""How much of a pack its backward pass finds ready on a CPU: no more values than the decoder has weights if it can be.

What is kept costs memory, what is made again time. Attention's gathered rows and weights spare the most time for their
size, then silu(gate); gate and up are half of what a layer keeps, and cost an eighth of its products once more.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from llm.attention.backend import TORCH, Backend
from llm.attention.gather_index import gathered_values
from llm.attention.layout import AttentionPlan
from llm.attention.padded_groups import SHORT
from llm.attention.ulysses import Exchange


@dataclass(frozen=True, slots=True)
class Kept:
    """In how many layers, counted from the last, something is kept beside what always is."""

    attention: int  # what attention gathered, and its weights
    opened: int  # silu(gate)
    gates: int  # gate and up


def plan_kept(
    body: PreTrainedModel, embeds: Tensor, packed: AttentionPlan | Exchange, backend: Backend = TORCH
) -> Kept:
    """For a pack of rows [T, H]. On a card gates alone, in all layers: its memory is planned by the user."""
    config: Any = body.config
    count, inner = config.num_hidden_layers, config.intermediate_size
    if backend.device_type(embeds) != "cpu":
        return Kept(attention=0, opened=0, gates=count)
    decoder: Any = body
    width = decoder.layers[0].self_attn.head_dim
    heads, shared, hidden = config.num_attention_heads, config.num_key_value_heads, config.hidden_size
    weights = count * hidden * (2 * (heads + shared) * width + 3 * inner) + config.vocab_size * hidden
    room = weights - len(embeds) * count * 2 * (hidden + (heads + shared) * width + inner)
    if room < 0:
        again = -(room // (len(embeds) * 2 * inner))  # rounded up
        return Kept(attention=0, opened=0, gates=max(0, count - again))
    attention = 0
    if isinstance(packed, AttentionPlan) and all(group.keys <= SHORT for group in packed.groups):
        each = gathered_values(packed, heads, shared, width, embeds.dtype) - len(embeds) * (heads + 2 * shared) * width
        attention = count if each <= 0 else min(count, room // each)
        room -= attention * each
    return Kept(attention=attention, opened=min(count, room // (len(embeds) * inner)), gates=count)
