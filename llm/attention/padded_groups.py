"""Attention over padded groups of a pack: heads are gathered span by span, and each group is one batched product.

`padded_attention` leaves the backward pass to autograd. `PaddedAttention`, for CPUs, saves only its inputs and
recomputes the gathered heads and attention weights in the backward pass: little work, and much less memory. Where there
is room for them they are saved instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention.backend import Sdpa
from llm.attention.gather_index import Block, GatherIndex, GroupIndex
from llm.attention.layout import AttentionPlan, Group
from llm.machine_constants import PLAIN_ATTENTION_KEYS

SHORT = PLAIN_ATTENTION_KEYS.count  # keys up to which plain products are faster than SDPA on a CPU

softmax_gradient = torch.ops.aten._softmax_backward_data


def padded_attention(
    query: Tensor,  # [T, heads, D]
    key: Tensor,  # [T, key_value_heads, D]
    value: Tensor,
    plan: AttentionPlan,
    scale: float,
    dropout: float,
    sdpa: Sdpa = scaled_dot_product_attention,
) -> Tensor:
    """[T, heads, D]: one SDPA call a group."""
    index = GatherIndex.of(plan, query, key)
    outputs = []
    for group, where in zip(plan.groups, index.groups, strict=True):
        outputs.append(_fused(Gathered.of(query, key, value, group, where), group, scale, sdpa, dropout))
    return _scatter(outputs, index.outputs, query.shape)


class PaddedAttention(torch.autograd.Function):
    """`padded_attention` without dropout, by plain products in groups of at most `SHORT` keys.

    With `save`, and if all groups are that short, the gathered heads and attention weights are saved for backward;
    otherwise the inputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: AttentionPlan,
        scale: float,
        sdpa: Sdpa,
        save: bool = False,
    ) -> Tensor:
        index = GatherIndex.of(plan, query, key, SHORT)
        ctx.plan, ctx.index, ctx.scale, ctx.sdpa = plan, index, scale, sdpa
        ctx.save = save and all(where.blocks for where in index.groups)
        outputs: list[Tensor] = []
        saved: list[Tensor] = []
        for group, where in zip(plan.groups, index.groups, strict=True):
            heads = Gathered.of(query, key, value, group, where)
            if not where.blocks:
                outputs.append(_fused(heads, group, scale, sdpa))
                continue
            weights: list[Tensor] | None = [] if ctx.save else None
            outputs.append(_plain(heads, where.blocks, index.zero, scale, weights))
            saved += [heads.queries, heads.keys, heads.values, *weights] if weights is not None else []
        ctx.save_for_backward(*(saved if ctx.save else (query, key, value)))
        return _scatter(outputs, index.outputs, query.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: AttentionPlan = ctx.plan
        index: GatherIndex = ctx.index
        saved = ctx.saved_tensors  # read once: under activation checkpointing they can be unpacked a single time
        remaining = iter(saved)
        found = []
        for group, where in zip(plan.groups, index.groups, strict=True):
            weights: list[Tensor] = []
            if ctx.save:
                heads = Gathered(next(remaining), next(remaining), next(remaining))
                weights = list(islice(remaining, len(where.blocks)))
            else:
                query, key, value = saved
                heads = Gathered.of(query, key, value, group, where)
            gradient = _gather_gradient(grads[0], group, where)
            if where.blocks:
                found.append(_plain_gradients(heads, gradient, where.blocks, index.zero, ctx.scale, weights))
            else:
                found.append(_fused_gradients(heads, gradient, group, ctx.scale, ctx.sdpa))
        of_queries = _scatter([part.queries for part in found], index.outputs, grads[0].shape)
        of_keys = _scatter_keys([part.keys for part in found], plan, index)
        of_values = _scatter_keys([part.values for part in found], plan, index)
        return of_queries, of_keys, of_values, None, None, None, None


@dataclass(frozen=True, slots=True)
class Gathered:
    """The gathered heads of a group, or their gradients."""

    queries: Tensor  # [n, heads, queries, D]
    keys: Tensor  # [n, key_value_heads, keys, D]
    values: Tensor

    @classmethod
    def of(cls, query: Tensor, key: Tensor, value: Tensor, group: Group, where: GroupIndex) -> "Gathered":
        """Gather from a pack's queries [T, heads, D], keys and values [T, key_value_heads, D]."""
        keys, values = (_gather(states, where.keys, group.count, where.width) for states in (key, value))
        return cls(_gather(query, where.queries, group.count, group.queries), keys, values)


# Gather and scatter --------------------------------------------------------------------------------------------------


def _table(states: Tensor) -> Tensor:
    """[..., D] -> [product of the other dimensions, D]."""
    return states.reshape(-1, states.shape[-1])


def _gather(states: Tensor, index: Tensor, count: int, length: int) -> Tensor:
    """[T, heads, D] -> [n, heads, length, D]."""
    return _table(states).index_select(0, index).view(count, states.shape[1], length, -1)


def _scatter(outputs: list[Tensor], index: Tensor, shape: Sequence[int]) -> Tensor:
    """The groups' [n, heads, length, D] -> [T, heads, D]; padding is left out."""
    tables = [_table(output) for output in outputs]
    joined = tables[0] if len(tables) == 1 else torch.cat(tables)
    return joined.index_select(0, index).view(shape)


def _scatter_keys(outputs: list[Tensor], plan: AttentionPlan, index: GatherIndex) -> Tensor:
    """The groups' gradients [n, key_value_heads, width, D] -> [T, key_value_heads, D], summed over all uses of a key.

    Each position is in exactly one span's own keys; its uses as a key before other spans are added.
    """
    own = [output[:, :, group.prefix : group.keys] for output, group in zip(outputs, plan.groups, strict=True)]
    total = _scatter(own, index.own_keys, (-1, *own[0].shape[1::2]))
    for output, group, where in zip(outputs, plan.groups, index.groups, strict=True):
        if where.before is not None:
            _table(total).index_add_(0, where.before, _table(output[:, :, : group.prefix]))
    return total


def _gather_gradient(gradient: Tensor, group: Group, where: GroupIndex) -> Tensor:
    """[T, heads, D] -> [n, heads, queries, D], with zeros for padding, which repeats a position."""
    gathered = _gather(gradient, where.queries, group.count, group.queries)
    if where.padding is not None:
        _table(gathered).index_fill_(0, where.padding, 0)
    return gathered


# Plain products ------------------------------------------------------------------------------------------------------


def _stacked(states: Tensor, key_value_heads: int, block: slice) -> Tensor:
    """A block of [n, heads, queries, D] -> [n * key_value_heads, heads / key_value_heads * queries in block, D].

    Query heads that share a key-value head are stacked, so keys and values need not be repeated.
    """
    return states[:, :, block].reshape(len(states) * key_value_heads, -1, states.shape[-1])


def _weights(queries: Tensor, keys: Tensor, block: Block, zero: Tensor, scale: float) -> Tensor:
    """Attention weights [n * key_value_heads, stacked queries, keys].

    torch's softmax sums in fp32 and rounds once, as transformers' does.
    """
    scores = torch.baddbmm(zero, queries, keys.transpose(1, 2), beta=0, alpha=scale)
    scores.view(len(block.mask), -1, *block.mask.shape[2:]).add_(block.mask)
    return torch.softmax(scores, -1)


def _plain(
    heads: Gathered, blocks: tuple[Block, ...], zero: Tensor, scale: float, saved: list[Tensor] | None
) -> Tensor:
    """[n, heads, queries, D]; the attention weights of each block are appended to `saved`, if given."""
    key_value_heads = heads.keys.shape[1]
    keys, values = heads.keys.flatten(0, 1), heads.values.flatten(0, 1)
    parts = []
    for block in blocks:
        queries = _stacked(heads.queries, key_value_heads, block.queries)
        weights = _weights(queries, keys[:, : block.keys], block, zero, scale)
        if saved is not None:
            saved.append(weights)
        attended = torch.bmm(weights, values[:, : block.keys])
        parts.append(attended.view(*heads.queries.shape[:2], -1, attended.shape[-1]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _plain_gradients(
    heads: Gathered, gradient: Tensor, blocks: tuple[Block, ...], zero: Tensor, scale: float, saved: list[Tensor]
) -> Gathered:
    """Gradients of the gathered heads for that of `_plain`'s output. Weights are popped off `saved`."""
    key_value_heads = heads.keys.shape[1]
    keys, values = heads.keys.flatten(0, 1), heads.values.flatten(0, 1)
    parts: list[Tensor] = []
    of_keys = of_values = torch.empty(0)
    for block in reversed(blocks):  # the last block attends to all keys
        queries = _stacked(heads.queries, key_value_heads, block.queries)
        of_output = _stacked(gradient, key_value_heads, block.queries)
        block_keys, end = keys[:, : block.keys], block.keys
        weights = saved.pop() if saved else _weights(queries, block_keys, block, zero, scale)
        of_weights = torch.bmm(of_output, values[:, :end].transpose(1, 2))
        of_scores = softmax_gradient(of_weights, weights, -1, weights.dtype)
        del of_weights
        if not parts:
            of_values = torch.bmm(weights.transpose(1, 2), of_output)
            of_keys = torch.baddbmm(zero, of_scores.transpose(1, 2), queries, beta=0, alpha=scale)
        else:
            of_values[:, :end].baddbmm_(weights.transpose(1, 2), of_output)
            of_keys[:, :end].baddbmm_(of_scores.transpose(1, 2), queries, alpha=scale)
        del weights
        of_queries = torch.baddbmm(zero, of_scores, block_keys, beta=0, alpha=scale)
        parts.insert(0, of_queries.view(*heads.queries.shape[:2], -1, of_queries.shape[-1]))
    of_queries = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return Gathered(of_queries, of_keys.view_as(heads.keys), of_values.view_as(heads.values))


# Fused products ------------------------------------------------------------------------------------------------------


def _fused(heads: Gathered, group: Group, scale: float, sdpa: Sdpa, dropout: float = 0.0) -> Tensor:
    """[n, heads, queries, D] by one SDPA call."""
    repeat = heads.queries.shape[1] // heads.keys.shape[1]
    keys, values = (states.repeat_interleave(repeat, 1) for states in (heads.keys, heads.values))
    mask = _attention_mask(group) if group.prefix else None
    return sdpa(heads.queries, keys, values, mask, dropout_p=dropout, is_causal=mask is None, scale=scale)


def _fused_gradients(heads: Gathered, gradient: Tensor, group: Group, scale: float, sdpa: Sdpa) -> Gathered:
    with torch.enable_grad():
        inputs = [states.detach().requires_grad_() for states in (heads.queries, heads.keys, heads.values)]
        attended = _fused(Gathered(*inputs), group, scale, sdpa)
    return Gathered(*torch.autograd.grad(attended, inputs, gradient))


def _attention_mask(group: Group) -> Tensor:
    """[1 or n, 1, queries, keys] bool: True for the keys before a span, without padding, and causally for its own."""
    device = group.query_positions.device
    causal = torch.ones(group.queries, group.keys, dtype=torch.bool, device=device).tril(group.prefix)[None, None]
    if group.left_padding is None:
        return causal
    return causal & (torch.arange(group.keys, device=device) >= group.left_padding[:, None])[:, None, None]
