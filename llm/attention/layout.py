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

CALLS = ATTENTION_GROUP_PAIRS.count  # pairs of a query and a key that cost as much as a group of its own


@dataclass(frozen=True, slots=True)
class Span:
    """`length` rows from `start` that see themselves and, before that, the runs `before`: first row and length each."""

    start: int
    length: int
    before: tuple[tuple[int, int], ...] = ()

    @property
    def prefix(self) -> int:
        """Rows of the runs before."""
        return sum(length for _, length in self.before)


@dataclass(frozen=True, slots=True)
class Group:
    """n spans, padded on the right to `queries` rows each, and what they see before on the left to `keys` in all."""

    query_rows: Tensor  # [n * queries], rows of the flat pack
    key_rows: Tensor  # [n * keys]
    count: int
    queries: int
    keys: int
    pads: Tensor | None = None  # [n], keys on the left that a span does not see; None: nobody has any
    behind: Tensor | None = None  # [p], where in [n * queries] a span's padding stands; None: nobody has any

    @property
    def prefix(self) -> int:
        """Keys before the spans' own, padding among them."""
        return self.keys - self.queries

    def to(self, device: torch.device) -> "Group":
        """The same group on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("query_rows", "key_rows")}
        pads = None if self.pads is None else self.pads.to(device)
        behind = None if self.behind is None else self.behind.to(device)
        return replace(self, **moved, pads=pads, behind=behind)


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Every row of a pack is a query in exactly one group."""

    groups: tuple[Group, ...]
    before: Tensor  # [T], padded rows of all groups, joined, before the row's span
    within: Tensor  # [T], the row's place in its span
    padded: Tensor  # [T], rows of its span with its padding
    lengths: Lengths  # the same spans for a varlen kernel
    made: dict[Any, Any] = field(
        default_factory=dict, repr=False, compare=False
    )  # what llm/attention/gather_index.py keeps

    def places(self, heads: int) -> Tensor:
        """[T * heads]: where a row's heads stand when every span holds one head behind the other, groups joined."""
        each = torch.arange(heads, device=self.before.device)
        return ((self.before * heads + self.within)[:, None] + self.padded[:, None] * each).reshape(-1)

    def to(self, device: torch.device) -> "AttentionPlan":
        """The same plan on another device."""
        groups = tuple(group.to(device) for group in self.groups)
        before, within, padded = (places.to(device) for places in (self.before, self.within, self.padded))
        return AttentionPlan(groups, before, within, padded, self.lengths.to(device))


def plan_attention(spans: list[Span], rows: int) -> AttentionPlan:
    """Sort spans into groups and lay out their index tensors. Runs in the loader, never in a step."""
    before, within, padded = np.full((3, rows), -1, np.int64)
    groups: list[Group] = []
    base = 0
    for members in _alike(spans):
        queries, prefix = max(span.length for span in members), max(span.prefix for span in members)
        starts = np.array([span.start for span in members])[:, None]
        lengths = np.array([span.length for span in members])[:, None]
        # Padding repeats the last row: any valid row does.
        query_rows = starts + np.minimum(np.arange(queries), lengths - 1)
        behind = np.flatnonzero(np.arange(queries) >= lengths)
        pads = np.array([prefix - span.prefix for span in members])
        seen = [_rows(((span.start, 1),) * pad + span.before) for span, pad in zip(members, pads, strict=True)]
        key_rows = np.concatenate([np.stack(seen), query_rows], axis=1)
        for index, span in enumerate(members):
            own = slice(span.start, span.start + span.length)
            before[own], within[own], padded[own] = base + index * queries, np.arange(span.length), queries
        groups.append(
            Group(
                torch.from_numpy(query_rows.reshape(-1)),
                torch.from_numpy(key_rows.reshape(-1)),
                len(members),
                queries,
                prefix + queries,
                torch.from_numpy(pads) if pads.any() else None,
                torch.from_numpy(behind) if len(behind) else None,
            )
        )
        base += len(members) * queries
    assert (padded >= 0).all(), "a row of the pack belongs to no span"
    places = (torch.from_numpy(before), torch.from_numpy(within), torch.from_numpy(padded))
    return AttentionPlan(tuple(groups), *places, _lengths(spans))


def _lengths(spans: list[Span]) -> Lengths:
    ordered = sorted(spans, key=lambda span: span.start)
    queries = np.array([span.length for span in ordered])
    keys = queries + np.array([span.prefix for span in ordered])
    rows = None
    if any(span.before for span in ordered):
        runs = [_rows((*span.before, (span.start, span.length))) for span in ordered]
        rows = torch.from_numpy(np.concatenate(runs))
    return Lengths(_ends(queries), _ends(keys), int(queries.max()), int(keys.max()), rows)


def _rows(runs: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    found = [np.arange(start, start + length) for start, length in runs]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _ends(lengths: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _alike(spans: list[Span]) -> Iterator[list[Span]]:
    """Groups of spans, longest first, that cost the least together: padded pairs, and `CALLS` a group.

    The best partition into runs of the spans by length, found by the best partition of every beginning.
    """
    ordered = sorted(spans, key=lambda span: (span.length, span.prefix), reverse=True)
    lengths = np.array([span.length for span in ordered])
    prefixes = np.array([span.prefix for span in ordered])
    costs, cuts = np.zeros(len(ordered) + 1, np.int64), np.zeros(len(ordered) + 1, np.int64)
    for end in range(1, len(ordered) + 1):
        most = np.maximum.accumulate(prefixes[:end][::-1])[::-1]  # of the run that begins here
        padded = np.arange(end, 0, -1) * lengths[:end] * (lengths[:end] + most)
        joined = costs[:end] + padded + CALLS
        cuts[end] = joined.argmin()
        costs[end] = joined[cuts[end]]
    groups: list[list[Span]] = []
    end = len(ordered)
    while end:
        groups.append(ordered[cuts[end] : end])
        end = int(cuts[end])
    yield from reversed(groups)
