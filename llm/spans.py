"""Who sees whom in a pack, laid out as index tensors in the loader.

A span is one sequence of a pack, or one branch that also sees the prefix it shares.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.varlen import Lengths

# Spans share a group while the shortest is at least this share of the longest: below it, padding costs more.
ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Span:
    """`length` rows from `start` that see themselves and, before that, `prefix` rows from `prefix_start`."""

    start: int
    length: int
    prefix_start: int = 0
    prefix: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """n spans of one prefix length, padded on the right to `queries` rows each."""

    query_rows: Tensor  # [n * queries], rows of the flat pack
    key_rows: Tensor  # [n * keys]
    count: int
    queries: int
    keys: int

    def to(self, device: torch.device) -> "Group":
        """The same group on another device."""
        query_rows, key_rows = self.query_rows.to(device), self.key_rows.to(device)
        return Group(query_rows, key_rows, self.count, self.queries, self.keys)


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """Every row of a pack is a query in exactly one group; `order[r]` is row r's place in the groups' joined output."""

    groups: tuple[Group, ...]
    order: Tensor  # [T]
    lengths: Lengths  # the same spans for a varlen kernel

    def to(self, device: torch.device) -> "AttentionPlan":
        """The same plan on another device."""
        groups = tuple(group.to(device) for group in self.groups)
        return AttentionPlan(groups, self.order.to(device), self.lengths.to(device))


def plan_attention(spans: list[Span], rows: int) -> AttentionPlan:
    """Sort spans into groups and lay out their index tensors. Runs in the loader, never in a step."""
    order = np.full(rows, -1, np.int64)
    groups: list[Group] = []
    base = 0
    for members in _alike(spans):
        queries, prefix = members[0].length, members[0].prefix
        within = np.arange(queries)
        starts = np.array([span.start for span in members])[:, None]
        lengths = np.array([span.length for span in members])[:, None]
        query_rows = starts + np.minimum(within, lengths - 1)  # padding repeats the last row: any valid row does
        before = np.array([span.prefix_start for span in members])[:, None] + np.arange(prefix)
        key_rows = np.concatenate([before, query_rows], axis=1)
        for index, span in enumerate(members):
            order[span.start : span.start + span.length] = base + index * queries + np.arange(span.length)
        groups.append(
            Group(
                torch.from_numpy(query_rows.reshape(-1)),
                torch.from_numpy(key_rows.reshape(-1)),
                len(members),
                queries,
                prefix + queries,
            )
        )
        base += len(members) * queries
    assert (order >= 0).all(), "a row of the pack belongs to no span"
    return AttentionPlan(tuple(groups), torch.from_numpy(order), _lengths(spans))


def _lengths(spans: list[Span]) -> Lengths:
    ordered = sorted(spans, key=lambda span: span.start)
    queries = np.array([span.length for span in ordered])
    keys = queries + np.array([span.prefix for span in ordered])
    rows = None
    if any(span.prefix for span in ordered):
        runs = [run for span in ordered for run in ((span.prefix_start, span.prefix), (span.start, span.length))]
        rows = torch.from_numpy(np.concatenate([np.arange(start, start + count) for start, count in runs]))
    return Lengths(_ends(queries), _ends(keys), int(queries.max()), int(keys.max()), rows)


def _ends(lengths: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _alike(spans: list[Span]) -> Iterator[list[Span]]:
    """Runs of spans with equal prefix length and similar length, longest first."""
    members: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.prefix, -span.length)):
        if members and (span.prefix != members[0].prefix or span.length < ALIKE * members[0].length):
            yield members
            members = []
        members.append(span)
    if members:
        yield members
