"""Attention of prefix trees, read without gradients on a CPU: a prefix is multiplied once with all of its branches.

The output over a row's keys is that over each part of them, weighted by the parts' sums of exponentials (FlashInfer's
cascade, Ye et al. 2025, arXiv 2501.01005): the row's own span, causally, and each run before it, without a mask. In a
tree laid out depth first the rows that continue a run are neighbours, so no key of a prefix is copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from llm.attention.gather_index import GatherIndex
from llm.attention.layout import AttentionPlan, Span, plan_attention
from llm.machine_constants import CASCADE_KEYS

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True, slots=True)
class Cascade:
    """The parts of a pack's attention: each row's own span, and runs of keys with the rows that continue them."""

    own: AttentionPlan
    runs: tuple[tuple[slice, slice], ...]  # keys and queries, as positions in the pack

    @classmethod
    def of(cls, plan: AttentionPlan) -> "Cascade | None":
        """From the plan's cache, if it has it. None where a row has too few keys before its span to be worth it."""
        if cls not in plan.cache:
            rows = sum(span.length for span in plan.spans)
            before = sum(span.length * span.prefix for span in plan.spans)
            worth = rows > 0 and before >= CASCADE_KEYS.count * rows
            plan.cache[cls] = cls._make(plan.spans, rows) if worth else None
        return cast("Cascade | None", plan.cache[cls])

    @classmethod
    def _make(cls, spans: tuple[Span, ...], rows: int) -> "Cascade":
        own = plan_attention([Span(span.start, span.length) for span in spans], rows)
        return cls(own, tuple(_runs(spans)))


def cascade_attention(query: Tensor, key: Tensor, value: Tensor, cascade: Cascade, scale: float) -> Tensor:
    """[T, heads, D] of queries [T, heads, D], keys and values [T, key_value_heads, D]."""
    output, sums = _own(query, key, value, cascade.own, scale)
    for keys, queries in cascade.runs:
        part, part_sums = _run(query[queries], key[keys], value[keys], scale)
        both = torch.logaddexp(sums[queries], part_sums)
        output[queries] *= (sums[queries] - both).exp_()[..., None]
        output[queries].addcmul_(part, (part_sums - both).exp_()[..., None])
        sums[queries] = both
    return output.to(query.dtype)


def _own(query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scale: float) -> tuple[Tensor, Tensor]:
    """Outputs [T, heads, D] and logarithms of sums [T, heads], fp32, over the keys of each row's own span."""
    heads, shared = query.shape[1], query.shape[1] // key.shape[1]
    index = GatherIndex.of(plan, query, key)
    tables, sums = list[Tensor](), list[Tensor]()
    for group, where in zip(plan.groups, index.groups, strict=True):
        queries = _table(query).index_select(0, where.queries).view(-1, shared, group.queries, query.shape[-1])
        keys, values = (
            _table(states).index_select(0, where.keys).view(-1, 1, group.keys, states.shape[-1]).expand_as(queries)
            for states in (key, value)
        )
        found, logs = flash(queries, keys, values, 0.0, True, scale=scale)
        tables.append(_table(found))
        sums.append(logs.reshape(-1))
    outputs = torch.cat(tables).index_select(0, index.outputs).view(query.shape).float()
    return outputs, torch.cat(sums).float().index_select(0, index.outputs).view(-1, heads)


def _run(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The same of R rows over all of some keys. The queries of a key's heads are rows of one product."""
    rows, heads, width = query.shape
    shared = heads // key.shape[1]
    queries = query.view(rows, key.shape[1], shared, width).permute(1, 2, 0, 3).reshape(1, key.shape[1], -1, width)
    found, logs = flash(queries, key.transpose(0, 1)[None], value.transpose(0, 1)[None], 0.0, False, scale=scale)
    outputs = found.reshape(heads, rows, width).transpose(0, 1)
    return outputs.float(), logs.reshape(heads, rows).float().t()


def _runs(spans: tuple[Span, ...]) -> Iterator[tuple[slice, slice]]:
    """Each run that spans continue, and the rows of these spans."""
    continued: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        for run in span.before:
            continued.setdefault(run, []).append(span)
    for (start, length), members in continued.items():
        first, end = min(one.start for one in members), max(one.start + one.length for one in members)
        assert sum(one.length for one in members) == end - first, "branches of a run are neighbours"
        yield slice(start, start + length), slice(first, end)


def _table(states: Tensor) -> Tensor:
    """[..., D] -> [product of the other dimensions, D]."""
    return states.reshape(-1, states.shape[-1])
