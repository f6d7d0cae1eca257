"""How many activations of a pack a CPU saves for backward: up to as many values as the decoder has weights.

Saving activations costs memory, recomputing them time. Attention's gathered heads and weights save the most time for
their size, then silu(gate). Gate and up are half of what a layer saves; recomputing them costs an eighth of its
products.
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
class ActivationBudget:
    """In how many layers, counted from the last, a kind of activation is saved in addition to those that always are."""

    attention: int  # gathered heads and attention weights
    silu: int  # silu(gate)
    gate_up: int  # gate and up


def plan_activations(
    body: PreTrainedModel, embeds: Tensor, packed: AttentionPlan | Exchange, backend: Backend = TORCH
) -> ActivationBudget:
    """The budget for a pack of embeddings [T, H]. On other devices than a CPU, gate and up are saved in all layers."""
    config: Any = body.config
    count, inner = config.num_hidden_layers, config.intermediate_size
    if backend.device_type(embeds) != "cpu":
        return ActivationBudget(attention=0, silu=0, gate_up=count)
    decoder: Any = body
    width = decoder.layers[0].self_attn.head_dim
    heads, shared, hidden = config.num_attention_heads, config.num_key_value_heads, config.hidden_size
    weights = count * hidden * (2 * (heads + shared) * width + 3 * inner) + config.vocab_size * hidden
    room = weights - len(embeds) * count * 2 * (hidden + (heads + shared) * width + inner)
    if room < 0:
        recomputed = -(room // (len(embeds) * 2 * inner))  # rounded up
        return ActivationBudget(attention=0, silu=0, gate_up=max(0, count - recomputed))
    attention = 0
    if isinstance(packed, AttentionPlan) and all(group.keys <= SHORT for group in packed.groups):
        each = gathered_values(packed, heads, shared, width, embeds.dtype) - len(embeds) * (heads + 2 * shared) * width
        attention = count if each <= 0 else min(count, room // each)
        room -= attention * each
    return ActivationBudget(attention=attention, silu=min(count, room // (len(embeds) * inner)), gate_up=count)
