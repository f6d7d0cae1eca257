"""Where the heads of a pack's rows stand in tables [rows and heads, D]. Made once a pack: all layers read the same.

On a CPU they cost as much as the rows that they bring: a dozen calls a group, made anew in every layer, three times.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from llm.spans import AttentionPlan, Group

BLOCK = 128  # queries that are multiplied with their keys at a time: what lies behind a block is not computed


@dataclass(frozen=True, slots=True)
class GroupPlaces:
    """Of one group's re-padded rows, span by span and head by head."""

    queries: Tensor  # [n * heads * queries]
    keys: Tensor  # [n * key_value_heads * keys]
    padding: Tensor | None  # [n, 1, queries, 1] bool, queries behind a span's end; None: there are none
    unseen: Tensor | None  # [n, 1, 1, prefix] bool, keys on the left that are padding; None: there are none

    @classmethod
    def of(cls, group: Group, heads: int, key_value_heads: int) -> "GroupPlaces":
        """From the group's rows."""
        padding = unseen = None
        if group.lengths is not None:
            each = torch.arange(group.queries, device=group.lengths.device)
            padding = (each >= group.lengths[:, None])[:, None, :, None]
        if group.pads is not None:
            each = torch.arange(group.prefix, device=group.pads.device)
            unseen = (each < group.pads[:, None])[:, None, None]
        queries = _by_head(group.query_rows, group.count, heads)
        return cls(queries, _by_head(group.key_rows, group.count, key_value_heads), padding, unseen)


@dataclass(frozen=True, slots=True)
class Places:
    """Of a pack."""

    groups: tuple[GroupPlaces, ...]
    back: Tensor  # [T * heads]: where a row's heads stand in the groups' tables, joined
    keys_back: Tensor | None  # the same of keys where each is read by one span alone; None: some are shared
    behind: Tensor  # bool, as wide as a block: keys behind a query
    barrier: Tensor  # the same to be added: 0, and -inf behind
    nothing: Tensor  # [1, 1, 1]: what a product is added to when it is added to nothing

    @classmethod
    def of(cls, plan: AttentionPlan, query: Tensor, key: Tensor) -> "Places":
        """For queries [T, heads, D] and keys [T, key_value_heads, D]."""
        wanted = (query.shape[1], key.shape[1], query.dtype)
        if wanted not in plan.made:
            plan.made[wanted] = cls._make(plan, query, key)
        found: Places = plan.made[wanted]
        return found

    @classmethod
    def _make(cls, plan: AttentionPlan, query: Tensor, key: Tensor) -> "Places":
        heads, shared = query.shape[1], key.shape[1]
        apart = not any(group.prefix for group in plan.groups)
        side = min(BLOCK, max(group.queries for group in plan.groups))
        behind = torch.ones(side, side, dtype=torch.bool, device=query.device).triu(1)
        return cls(
            groups=tuple(GroupPlaces.of(group, heads, shared) for group in plan.groups),
            back=plan.places(heads),
            keys_back=plan.places(shared) if apart else None,
            behind=behind,
            barrier=query.new_zeros(side, side).masked_fill_(behind, float("-inf")),
            nothing=query.new_zeros(1, 1, 1),
        )


def _by_head(rows: Tensor, count: int, heads: int) -> Tensor:
    """[n * rows] -> [n * heads * rows]: where the heads of these rows of a pack stand in its table, span by span."""
    each = torch.arange(heads, device=rows.device)
    return (rows.view(count, 1, -1) * heads + each[:, None]).reshape(-1)
