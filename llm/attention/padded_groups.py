"""Attention over padded groups of a pack: heads are gathered span by span, and a group is one batched product.

`padded_attention` leaves the backward pass to autograd. `PaddedAttention`, for CPUs, saves its inputs alone and gathers
and multiplies again in the backward pass: little work, against attention weights and padded copies that would lie in
memory until then. Where there is room for these they are saved instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention.backend import Sdpa
from llm.attention.gather_index import Block, GroupPlaces, Places
from llm.attention.layout import AttentionPlan, Group
from llm.machine_constants import PLAIN_ATTENTION_KEYS

SHORT = PLAIN_ATTENTION_KEYS.count  # keys up to which plain products beat SDPA on a CPU

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
    places = Places.of(plan, query, key)
    outputs = []
    for group, where in zip(plan.groups, places.groups, strict=True):
        outputs.append(_fused(Gathered.of(query, key, value, group, where), group, scale, sdpa, dropout))
    return _back(outputs, places.back, query.shape)


class PaddedAttention(torch.autograd.Function):
    """The same without dropout, by plain products where a group's spans are short.

    `keeps`: gathered rows and weights for the backward pass, if all groups are short; else the inputs.
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
        keeps: bool = False,
    ) -> Tensor:
        places = Places.of(plan, query, key, SHORT)
        ctx.plan, ctx.places, ctx.scale, ctx.sdpa = plan, places, scale, sdpa
        ctx.keeps = keeps and all(where.blocks for where in places.groups)
        outputs: list[Tensor] = []
        kept: list[Tensor] = []
        for group, where in zip(plan.groups, places.groups, strict=True):
            rows = Gathered.of(query, key, value, group, where)
            if not where.blocks:
                outputs.append(_fused(rows, group, scale, sdpa))
                continue
            weights: list[Tensor] | None = [] if ctx.keeps else None
            outputs.append(_plain(rows, where.blocks, places.nothing, scale, weights))
            kept += [rows.queries, rows.keys, rows.values, *weights] if weights is not None else []
        ctx.save_for_backward(*(kept if ctx.keeps else (query, key, value)))
        return _back(outputs, places.back, query.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: AttentionPlan = ctx.plan
        places: Places = ctx.places
        saved = ctx.saved_tensors  # once: layers that are computed again unpack them a single time
        kept = iter(saved)
        found = []
        for group, where in zip(plan.groups, places.groups, strict=True):
            weights: list[Tensor] = []
            if ctx.keeps:
                rows = Gathered(next(kept), next(kept), next(kept))
                weights = list(islice(kept, len(where.blocks)))
            else:
                query, key, value = saved
                rows = Gathered.of(query, key, value, group, where)
            gradient = _of_group(grads[0], group, where)
            if where.blocks:
                found.append(_plain_gradients(rows, gradient, where.blocks, places.nothing, ctx.scale, weights))
            else:
                found.append(_fused_gradients(rows, gradient, group, ctx.scale, ctx.sdpa))
        of_queries = _back([part.queries for part in found], places.back, grads[0].shape)
        of_keys = _keys_back([part.keys for part in found], plan, places)
        of_values = _keys_back([part.values for part in found], plan, places)
        return of_queries, of_keys, of_values, None, None, None, None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A group's rows, or their gradients."""

    queries: Tensor  # [n, heads, queries, D]
    keys: Tensor  # [n, key_value_heads, keys, D]
    values: Tensor

    @classmethod
    def of(cls, query: Tensor, key: Tensor, value: Tensor, group: Group, where: GroupPlaces) -> "Gathered":
        """From the rows of the pack."""
        keys, values = (_taken(states, where.keys, group.count, where.width) for states in (key, value))
        return cls(_taken(query, where.queries, group.count, group.queries), keys, values)


# Rows and heads ------------------------------------------------------------------------------------------------------


def _table(states: Tensor) -> Tensor:
    """[..., D] -> [all rows and heads, D]."""
    return states.reshape(-1, states.shape[-1])


def _taken(states: Tensor, places: Tensor, count: int, rows: int) -> Tensor:
    """[T, heads, D] -> [n, heads, rows, D]."""
    return _table(states).index_select(0, places).view(count, states.shape[1], rows, -1)


def _back(outputs: list[Tensor], places: Tensor, shape: Sequence[int]) -> Tensor:
    """The groups' [n, heads, rows, D] -> [T, heads, D], each row's from its place."""
    tables = [_table(output) for output in outputs]
    joined = tables[0] if len(tables) == 1 else torch.cat(tables)
    return joined.index_select(0, places).view(shape)


def _keys_back(outputs: list[Tensor], plan: AttentionPlan, places: Places) -> Tensor:
    """The groups' [n, key_value_heads, width, D] -> [T, key_value_heads, D]: the sum over all who read a row.

    Every row is one span's own; those before it are added.
    """
    own = [output[:, :, group.prefix : group.keys] for output, group in zip(outputs, plan.groups, strict=True)]
    total = _back(own, places.keys_back, (-1, *own[0].shape[1::2]))
    for output, group, where in zip(outputs, plan.groups, places.groups, strict=True):
        if where.before is not None:
            _table(total).index_add_(0, where.before, _table(output[:, :, : group.prefix]))
    return total


def _of_group(gradient: Tensor, group: Group, where: GroupPlaces) -> Tensor:
    """[T, heads, D] -> [n, heads, queries, D]: nothing for padding, which repeats a row."""
    taken = _taken(gradient, where.queries, group.count, group.queries)
    if where.padding is not None:
        _table(taken).index_fill_(0, where.padding, 0)
    return taken


# Plain products ------------------------------------------------------------------------------------------------------


def _stacked(states: Tensor, shared: int, block: slice) -> Tensor:
    """[n, heads, queries, D] -> [n * key_value_heads, rows, D]: the heads of one key-value head over one another.

    So keys and values need not be repeated.
    """
    return states[:, :, block].reshape(len(states) * shared, -1, states.shape[-1])


def _weights(queries: Tensor, keys: Tensor, block: Block, nothing: Tensor, scale: float) -> Tensor:
    """[n * key_value_heads, rows, keys]. torch's softmax adds in fp32 inside and rounds once, as transformers' does."""
    scores = torch.baddbmm(nothing, queries, keys.transpose(1, 2), beta=0, alpha=scale)
    scores.view(len(block.hidden), -1, *block.hidden.shape[2:]).add_(block.hidden)
    return torch.softmax(scores, -1)


def _plain(
    rows: Gathered, blocks: tuple[Block, ...], nothing: Tensor, scale: float, kept: list[Tensor] | None
) -> Tensor:
    """[n, heads, queries, D]; the weights of each block are `kept`, if asked for."""
    shared = rows.keys.shape[1]
    keys, values = rows.keys.flatten(0, 1), rows.values.flatten(0, 1)
    parts = []
    for block in blocks:
        queries = _stacked(rows.queries, shared, block.queries)
        weights = _weights(queries, keys[:, : block.keys], block, nothing, scale)
        if kept is not None:
            kept.append(weights)
        attended = torch.bmm(weights, values[:, : block.keys])
        parts.append(attended.view(*rows.queries.shape[:2], -1, attended.shape[-1]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _plain_gradients(
    rows: Gathered, gradient: Tensor, blocks: tuple[Block, ...], nothing: Tensor, scale: float, kept: list[Tensor]
) -> Gathered:
    """Of the gathered rows, for that of `_plain`'s output. What was `kept` is used up, the last block's first."""
    shared = rows.keys.shape[1]
    keys, values = rows.keys.flatten(0, 1), rows.values.flatten(0, 1)
    parts: list[Tensor] = []
    of_keys = of_values = torch.empty(0)
    for block in reversed(blocks):  # the last block sees all keys
        queries, passed = _stacked(rows.queries, shared, block.queries), _stacked(gradient, shared, block.queries)
        seen, end = keys[:, : block.keys], block.keys
        weights = kept.pop() if kept else _weights(queries, seen, block, nothing, scale)
        of_weights = torch.bmm(passed, values[:, :end].transpose(1, 2))
        of_scores = softmax_gradient(of_weights, weights, -1, weights.dtype)
        del of_weights
        if not parts:
            of_values = torch.bmm(weights.transpose(1, 2), passed)
            of_keys = torch.baddbmm(nothing, of_scores.transpose(1, 2), queries, beta=0, alpha=scale)
        else:
            of_values[:, :end].baddbmm_(weights.transpose(1, 2), passed)
            of_keys[:, :end].baddbmm_(of_scores.transpose(1, 2), queries, alpha=scale)
        del weights
        of_queries = torch.baddbmm(nothing, of_scores, seen, beta=0, alpha=scale)
        parts.insert(0, of_queries.view(*rows.queries.shape[:2], -1, of_queries.shape[-1]))
    of_queries = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return Gathered(of_queries, of_keys.view_as(rows.keys), of_values.view_as(rows.values))


# Fused products ------------------------------------------------------------------------------------------------------


def _fused(rows: Gathered, group: Group, scale: float, sdpa: Sdpa, dropout: float = 0.0) -> Tensor:
    """[n, heads, queries, D] by one SDPA call."""
    repeat = rows.queries.shape[1] // rows.keys.shape[1]
    keys, values = (states.repeat_interleave(repeat, 1) for states in (rows.keys, rows.values))
    mask = _visible(group) if group.prefix else None
    return sdpa(rows.queries, keys, values, mask, dropout_p=dropout, is_causal=mask is None, scale=scale)


def _fused_gradients(rows: Gathered, gradient: Tensor, group: Group, scale: float, sdpa: Sdpa) -> Gathered:
    with torch.enable_grad():
        inputs = [states.detach().requires_grad_() for states in (rows.queries, rows.keys, rows.values)]
        attended = _fused(Gathered(*inputs), group, scale, sdpa)
    return Gathered(*torch.autograd.grad(attended, inputs, gradient))


def _visible(group: Group) -> Tensor:
    """[1 or n, 1, queries, keys]: everyone sees what is before its span, and itself."""
    device = group.query_rows.device
    causal = torch.ones(group.queries, group.keys, dtype=torch.bool, device=device).tril(group.prefix)[None, None]
    if group.pads is None:
        return causal
    return causal & (torch.arange(group.keys, device=device) >= group.pads[:, None])[:, None, None]
