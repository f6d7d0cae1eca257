"""Which positions of a pack attend to which, as index tensors that are made in the loader.

A span is a run of positions that attend to themselves causally, and before that to the runs it continues. A pack of
a plain sample (A), and of two samples (B, C) that share a prefix (P), which is computed once:

    index         0  1  2  3  4  5  6  7  8
    token         A  A  A  P  P  B  B  C  C
    position_id   0  1  2  0  1  2  3  2  3     a branch continues after its prefix
    target        .  .  t  .  .  t  t  t  t     in a prefix no position has one
    span          0..2     3..4  5..6  7..8     before: none, none, ((3, 2),), ((3, 2),)

    attends to    A  A  A  P  P  B  B  C  C
             A    x  .  .  .  .  .  .  .  .
             A    x  x  .  .  .  .  .  .  .
             A    x  x  x  .  .  .  .  .  .
             P    .  .  .  x  .  .  .  .  .
             P    .  .  .  x  x  .  .  .  .
             B    .  .  .  x  x  x  .  .  .
             B    .  .  .  x  x  x  x  .  .
             C    .  .  .  x  x  .  .  x  .
             C    .  .  .  x  x  .  .  x  x
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.attention.varlen_kernels import Lengths
from llm.machine_constants import ATTENTION_GROUP_PAIRS

GROUP_COST = ATTENTION_GROUP_PAIRS.count  # of one more group, in padded pairs of a query and a key


@dataclass(frozen=True, slots=True)
class Span:
    """`length` positions from `start`, which attend causally to themselves and to all of the runs `before`.

    `before` holds the first position and the length of each run, in the order of the sequence.
    """

    start: int
    length: int
    before: tuple[tuple[int, int], ...] = ()

    @property
    def prefix(self) -> int:
        """The number of positions in the runs before."""
        return sum(length for _, length in self.before)


@dataclass(frozen=True, slots=True)
class Group:
    """n spans of similar length, padded to a rectangle: `queries` queries and `keys` keys each.

    Queries are padded on the right. Keys are those of the runs before, padded on the left, and then the queries'.
    """

    query_positions: Tensor  # [n * queries], positions in the pack
    key_positions: Tensor  # [n * keys], positions in the pack
    count: int
    queries: int
    keys: int
    left_padding: Tensor | None = None  # [n], each span's number of padding keys; None: there are none
    query_padding: Tensor | None = None  # [p], indices of padding in [n * queries]; None: there is none

    @property
    def prefix(self) -> int:
        """The number of keys before the spans' own, padding included."""
        return self.keys - self.queries

    def to(self, device: torch.device) -> "Group":
        """The same group on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("query_positions", "key_positions")}
        left = None if self.left_padding is None else self.left_padding.to(device)
        right = None if self.query_padding is None else self.query_padding.to(device)
        return replace(self, **moved, left_padding=left, query_padding=right)


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """The groups of a pack: every position is a query in exactly one of them."""

    groups: tuple[Group, ...]
    before: Tensor  # [T], padded queries before the position's span, all groups concatenated
    within: Tensor  # [T], the position's index in its span
    padded: Tensor  # [T], the length of its span, padding included
    lengths: Lengths  # the same spans for a varlen kernel
    spans: tuple[Span, ...] = field(default=(), repr=False, compare=False)
    cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)  # of llm/attention/gather_index.py

    def scatter_index(self, heads: int) -> Tensor:
        """[T * heads] indices of each position's heads in the groups' concatenated tables [n * heads * queries, D]."""
        each = torch.arange(heads, device=self.before.device)
        return ((self.before * heads + self.within)[:, None] + self.padded[:, None] * each).reshape(-1)

    def to(self, device: torch.device) -> "AttentionPlan":
        """The same plan on another device."""
        groups = tuple(group.to(device) for group in self.groups)
        before, within, padded = (index.to(device) for index in (self.before, self.within, self.padded))
        return AttentionPlan(groups, before, within, padded, self.lengths.to(device), self.spans)


def plan_attention(spans: list[Span], positions: int) -> AttentionPlan:
    """Sort a pack's spans into groups and make their index tensors. Called by the loader, not in a step."""
    before, within, padded = np.full((3, positions), -1, np.int64)
    groups: list[Group] = []
    base = 0
    for members in _group_spans(spans):
        queries, prefix = max(span.length for span in members), max(span.prefix for span in members)
        starts = np.array([span.start for span in members])[:, None]
        lengths = np.array([span.length for span in members])[:, None]
        # Padding repeats the last position: any valid index would do.
        query_positions = starts + np.minimum(np.arange(queries), lengths - 1)
        query_padding = np.flatnonzero(np.arange(queries) >= lengths)
        left_padding = np.array([prefix - span.prefix for span in members])
        before_spans = [
            _positions(((span.start, 1),) * pad + span.before) for span, pad in zip(members, left_padding, strict=True)
        ]
        key_positions = np.concatenate([np.stack(before_spans), query_positions], axis=1)
        for index, span in enumerate(members):
            own = slice(span.start, span.start + span.length)
            before[own], within[own], padded[own] = base + index * queries, np.arange(span.length), queries
        groups.append(
            Group(
                torch.from_numpy(query_positions.reshape(-1)),
                torch.from_numpy(key_positions.reshape(-1)),
                len(members),
                queries,
                prefix + queries,
                torch.from_numpy(left_padding) if left_padding.any() else None,
                torch.from_numpy(query_padding) if len(query_padding) else None,
            )
        )
        base += len(members) * queries
    assert (padded >= 0).all(), "a position of the pack belongs to no span"
    indices = (torch.from_numpy(before), torch.from_numpy(within), torch.from_numpy(padded))
    return AttentionPlan(tuple(groups), *indices, _lengths(spans), tuple(spans))


def _lengths(spans: list[Span]) -> Lengths:
    ordered = sorted(spans, key=lambda span: span.start)
    queries = np.array([span.length for span in ordered])
    keys = queries + np.array([span.prefix for span in ordered])
    key_positions = None
    if any(span.before for span in ordered):
        runs = [_positions((*span.before, (span.start, span.length))) for span in ordered]
        key_positions = torch.from_numpy(np.concatenate(runs))
    return Lengths(_offsets(queries), _offsets(keys), int(queries.max()), int(keys.max()), key_positions)


def _positions(runs: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """All positions of runs, each its first position and its length."""
    found = [np.arange(start, start + length) for start, length in runs]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _offsets(lengths: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _group_spans(spans: list[Span]) -> Iterator[list[Span]]:
    """Groups of spans, longest first, of the lowest total cost: their padded pairs, and `GROUP_COST` for each group.

    The best partition of the spans, sorted by length, into runs: dynamic programming over all prefixes of the list.
    """
    ordered = sorted(spans, key=lambda span: (span.length, span.prefix), reverse=True)
    lengths = np.array([span.length for span in ordered])
    prefixes = np.array([span.prefix for span in ordered])
    costs, cuts = np.zeros(len(ordered) + 1, np.int64), np.zeros(len(ordered) + 1, np.int64)
    for end in range(1, len(ordered) + 1):
        longest_prefix = np.maximum.accumulate(prefixes[:end][::-1])[::-1]  # of the run [index, end)
        padded = np.arange(end, 0, -1) * lengths[:end] * (lengths[:end] + longest_prefix)
        candidates = costs[:end] + padded + GROUP_COST
        cuts[end] = candidates.argmin()
        costs[end] = candidates[cuts[end]]
    groups: list[list[Span]] = []
    end = len(ordered)
    while end:
        groups.append(ordered[cuts[end] : end])
        end = int(cuts[end])
    yield from reversed(groups)
