"""Attention over re-padded groups of a pack: rows are gathered head by head, a group is one batched product.

`attend` keeps what autograd keeps, `Regrouped` its inputs alone, for a CPU: groups are gathered and multiplied again in
the backward pass, which is little work beside the weights and re-padded rows that would lie in memory until then.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.spans import AttentionPlan, Group

# Keys up to which plain products beat SDPA on a CPU, forward and backward: 2 AMX cores, bf16, 9/3 heads of 64, about
# 2,000 rows in spans of 128, 300, 512 and 700 took 14, 25, 38 and 46 ms, with SDPA 47, 57, 72 and 69; equal at 1,024.
SHORT = 768
BLOCK = 128  # queries that are multiplied with their keys at a time: what lies behind a block is not computed

Sdpa = Callable[..., Tensor]  # scaled_dot_product_attention, or what a forecast puts in its place

softmax_gradient = torch.ops.aten._softmax_backward_data


def attend(
    query: Tensor,  # [T, heads, D]
    key: Tensor,  # [T, key_value_heads, D]
    value: Tensor,
    plan: AttentionPlan,
    scale: float,
    dropout: float,
    sdpa: Sdpa = scaled_dot_product_attention,
) -> Tensor:
    """[T, heads, D]: one SDPA call a group."""
    outputs = [_fused(Gathered.of(query, key, value, group), group, scale, sdpa, dropout) for group in plan.groups]
    return _back(outputs, plan, query)


class Regrouped(torch.autograd.Function):
    """The same without dropout, by plain products where a group's spans are short."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scale: float, sdpa: Sdpa
    ) -> Tensor:
        ctx.plan, ctx.scale, ctx.sdpa = plan, scale, sdpa
        ctx.save_for_backward(query, key, value)
        outputs = []
        for group in plan.groups:
            rows = Gathered.of(query, key, value, group)
            outputs.append(_plain(rows, group, scale) if group.keys <= SHORT else _fused(rows, group, scale, sdpa))
        return _back(outputs, plan, query)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        plan: AttentionPlan = ctx.plan
        of_keys, of_values = (torch.zeros(key.shape, dtype=key.dtype, device=key.device) for _ in range(2))
        of_queries = []
        for group in plan.groups:
            rows = Gathered.of(query, key, value, group)
            gradient = _of_group(grads[0], group)
            if group.keys <= SHORT:
                found = _plain_gradients(rows, gradient, group, ctx.scale)
            else:
                found = _fused_gradients(rows, gradient, group, ctx.scale, ctx.sdpa)
            of_queries.append(found.queries)
            places = _places(group.key_rows, group.count, key.shape[1])
            _table(of_keys).index_add_(0, places, _table(found.keys))
            _table(of_values).index_add_(0, places, _table(found.values))
        return _back(of_queries, plan, query), of_keys, of_values, None, None, None


@dataclass(frozen=True, slots=True)
class Gathered:
    """A group's rows, or their gradients."""

    queries: Tensor  # [n, heads, queries, D]
    keys: Tensor  # [n, key_value_heads, keys, D]
    values: Tensor

    @classmethod
    def of(cls, query: Tensor, key: Tensor, value: Tensor, group: Group) -> "Gathered":
        """From the rows of the pack."""
        shared = _places(group.key_rows, group.count, key.shape[1])
        keys, values = (_taken(states, shared, group.count, group.keys) for states in (key, value))
        own = _places(group.query_rows, group.count, query.shape[1])
        return cls(_taken(query, own, group.count, group.queries), keys, values)


# Rows and heads ------------------------------------------------------------------------------------------------------


def _table(states: Tensor) -> Tensor:
    """[..., D] -> [all rows and heads, D]."""
    return states.reshape(-1, states.shape[-1])


def _places(rows: Tensor, count: int, heads: int) -> Tensor:
    """[n * rows] -> [n * heads * rows]: where the heads of these rows of a pack stand in its table, span by span."""
    each = torch.arange(heads, device=rows.device)
    return (rows.view(count, 1, -1) * heads + each[:, None]).reshape(-1)


def _taken(states: Tensor, places: Tensor, count: int, rows: int) -> Tensor:
    """[T, heads, D] -> [n, heads, rows, D]."""
    return _table(states).index_select(0, places).view(count, states.shape[1], rows, -1)


def _back(outputs: list[Tensor], plan: AttentionPlan, query: Tensor) -> Tensor:
    """The groups' [n, heads, queries, D] -> [T, heads, D] without padding."""
    tables = [_table(output) for output in outputs]
    joined = tables[0] if len(tables) == 1 else torch.cat(tables)
    return joined.index_select(0, plan.places(query.shape[1])).view(query.shape)


def _of_group(gradient: Tensor, group: Group) -> Tensor:
    """[T, heads, D] -> [n, heads, queries, D]: nothing for padding, which repeats a row."""
    places = _places(group.query_rows, group.count, gradient.shape[1])
    taken = _taken(gradient, places, group.count, group.queries)
    if group.lengths is None:
        return taken
    padding = torch.arange(group.queries, device=taken.device) >= group.lengths[:, None]
    return taken.masked_fill_(padding[:, None, :, None], 0)


# Plain products ------------------------------------------------------------------------------------------------------


def _blocks(group: Group) -> Iterator[tuple[slice, int]]:
    """Queries, and how many keys the last of them may see."""
    for start in range(0, group.queries, BLOCK):
        end = min(start + BLOCK, group.queries)
        yield slice(start, end), group.prefix + end


def _stacked(states: Tensor, shared: int, block: slice) -> Tensor:
    """[n, heads, queries, D] -> [n * key_value_heads, rows, D]: the heads of one key-value head over one another.

    So keys and values need not be repeated.
    """
    return states[:, :, block].reshape(len(states) * shared, -1, states.shape[-1])


def _weights(queries: Tensor, keys: Tensor, group: Group, block: slice, scale: float) -> Tensor:
    """[n * key_value_heads, rows, keys]. torch's softmax adds in fp32 inside and rounds once, as transformers' does."""
    scores = torch.baddbmm(queries.new_zeros(1, 1, 1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    rows = block.stop - block.start
    apart = scores.view(group.count, -1, rows, scores.shape[-1])
    behind = torch.ones(rows, rows, dtype=torch.bool, device=scores.device).triu(1)
    apart[..., group.prefix + block.start :].masked_fill_(behind, float("-inf"))
    if group.pads is not None:
        unseen = torch.arange(group.prefix, device=scores.device) < group.pads[:, None]
        apart[..., : group.prefix].masked_fill_(unseen[:, None, None], float("-inf"))
    return torch.softmax(scores, -1)


def _plain(rows: Gathered, group: Group, scale: float) -> Tensor:
    """[n, heads, queries, D]."""
    shared = rows.keys.shape[1]
    keys, values = rows.keys.flatten(0, 1), rows.values.flatten(0, 1)
    parts = []
    for block, seen in _blocks(group):
        weights = _weights(_stacked(rows.queries, shared, block), keys[:, :seen], group, block, scale)
        attended = torch.bmm(weights, values[:, :seen])
        parts.append(attended.view(*rows.queries.shape[:2], -1, attended.shape[-1]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _plain_gradients(rows: Gathered, gradient: Tensor, group: Group, scale: float) -> Gathered:
    """Of the gathered rows, for that of `_plain`'s output."""
    shared = rows.keys.shape[1]
    keys, values = rows.keys.flatten(0, 1), rows.values.flatten(0, 1)
    parts: list[Tensor] = []
    of_keys = of_values = torch.empty(0)
    for block, seen in reversed(list(_blocks(group))):  # the last block sees all keys
        queries, passed = _stacked(rows.queries, shared, block), _stacked(gradient, shared, block)
        weights = _weights(queries, keys[:, :seen], group, block, scale)
        of_weights = torch.bmm(passed, values[:, :seen].transpose(1, 2))
        of_scores = softmax_gradient(of_weights, weights, -1, weights.dtype).mul_(scale)
        del of_weights
        if not parts:
            of_values = torch.bmm(weights.transpose(1, 2), passed)
            of_keys = torch.bmm(of_scores.transpose(1, 2), queries)
        else:
            of_values[:, :seen].baddbmm_(weights.transpose(1, 2), passed)
            of_keys[:, :seen].baddbmm_(of_scores.transpose(1, 2), queries)
        del weights
        of_queries = torch.bmm(of_scores, keys[:, :seen])
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
