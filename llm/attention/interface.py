"""Attention for packs, registered through transformers' `AttentionInterface`; no model is patched.

On CUDA a varlen kernel computes it without padding, where one is installed; elsewhere it runs on padded groups of spans
of similar length (llm/attention/padded_groups.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from llm.attention.backend import TORCH, Backend
from llm.attention.cascade import Cascade, cascade_attention
from llm.attention.layout import AttentionPlan
from llm.attention.padded_groups import PaddedAttention, padded_attention
from llm.attention.ulysses import Exchange
from llm.attention.varlen_kernels import varlen_attention

NAME = "eyegraft_packed"


def packed_attention(
    module: nn.Module,
    query: Tensor,  # [1, heads, T, D]
    key: Tensor,  # [1, key_value_heads, T, D]
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packed: AttentionPlan | Exchange | None = None,
    backend: Backend = TORCH,
    save: bool = False,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """transformers' attention signature; `packed` and `backend` arrive through the model's keyword arguments.

    Returns [1, T, heads, D]. With `save`, padded groups save their gathered heads and attention weights for backward
    instead of recomputing them. Without a plan (one unpadded sequence, with or without a cache) plain SDPA runs.
    """
    if packed is None:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling
        )
        return output
    if isinstance(packed, Exchange):
        heads = query.shape[1]
        query, key, value = (packed.gather_positions(states, heads) for states in (query, key, value))
        attended, _ = packed_attention(
            module, query, key, value, attention_mask, scaling, dropout, packed.plan, backend
        )
        return packed.gather_heads(attended), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kernel = backend.varlen_kernel(query, dropout)
    if kernel is not None:
        return varlen_attention(query, key, value, packed.lengths, scale, kernel), None
    queries, keys, values = (states[0].transpose(0, 1).contiguous() for states in (query, key, value))
    if dropout == 0 and backend.cascades(query) and (cascade := Cascade.of(packed)) is not None:
        return cascade_attention(queries, keys, values, cascade, scale)[None], None
    if backend.device_type(query) == "cpu" and dropout == 0:
        return PaddedAttention.apply(queries, keys, values, packed, scale, backend.sdpa, save)[None], None
    return padded_attention(queries, keys, values, packed, scale, dropout, backend.sdpa)[None], None


def use_packed_attention(model: PreTrainedModel) -> None:
    """Make the model's text attention accept an `AttentionPlan`. No mask function is registered: packs need none."""
    AttentionInterface.register(NAME, packed_attention)
    model.set_attn_implementation(NAME)


@contextmanager
def plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model runs transformers' own SDPA attention with masks, as batched generation needs."""
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)


@contextmanager
def packed_attention_on(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model's text attention accepts an `AttentionPlan`; after it the model attends as before."""
    before = model.config._attn_implementation
    use_packed_attention(model)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
