"""A pack as tensors. Its laws are asserted when it is made: a batch that breaks one does not exist."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.attention.layout import AttentionPlan, Span, plan_attention
from llm.encoding.encoder import IGNORED, Sample


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Samples laid end to end: no padding, no mask, and no ignored label unless it is muted.

    T rows, n samples, K targets. Positions restart at each sample; a branch's positions continue from its prefix.
    """

    input_ids: Tensor  # [1, T]
    position_ids: Tensor  # [1, T]
    cu_seqlens: Tensor  # [n + 1], int32
    target_rows: Tensor  # [K]
    targets: Tensor  # [K]
    attention: AttentionPlan
    samples: tuple[int, ...]  # indices into the corpus, to name what failed

    def __post_init__(self) -> None:
        rows = self.input_ids.shape[1]
        assert self.position_ids.shape == (1, rows), "one position a row"
        assert self.target_rows.shape == self.targets.shape, "one target a target row"
        assert len(self.targets) > 0, "a pack without a target has no gradient"
        assert len(self.attention.within) == rows, "every row attends once"

    @property
    def tokens(self) -> int:
        """Rows of the pack, all of them real."""
        return self.input_ids.shape[1]

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.tokens:,} tokens ({len(self.samples)} samples)"

    def muted(self) -> "PackedBatch":
        """The same rows with nothing to learn: the loss and every gradient are 0, and all are there."""
        return replace(self, targets=torch.full_like(self.targets, IGNORED))

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            cu_seqlens=self.cu_seqlens.to(device, non_blocking=True),
            target_rows=self.target_rows.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            attention=self.attention.to(device),
        )


def collate(samples: list[Sample], indices: tuple[int, ...] = ()) -> PackedBatch:
    """Lay samples end to end."""
    lengths = np.array([len(sample.ids) for sample in samples])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    labels = np.concatenate([sample.labels for sample in samples])
    target_rows = np.flatnonzero(labels != IGNORED)
    spans = [span for start, sample in zip(starts.tolist(), samples, strict=False) for span in spans_of(sample, start)]
    return PackedBatch(
        input_ids=_row(np.concatenate([sample.ids for sample in samples])),
        position_ids=_row(np.concatenate([positions_of(sample) for sample in samples])),
        cu_seqlens=torch.from_numpy(starts.astype(np.int32)),
        target_rows=torch.from_numpy(target_rows),
        targets=torch.from_numpy(labels[target_rows].astype(np.int64)),
        attention=plan_attention(spans, int(starts[-1])),
        samples=indices,
    )


def positions_of(sample: Sample) -> NDArray[np.int64]:
    """0, 1, 2, ... and, in each branch, on from the end of what it continues."""
    positions = np.arange(len(sample.ids))
    behind: list[int] = []  # the position after each run's last
    for begin, end, parent in _runs(sample):
        first = behind[parent] if behind else 0
        positions[begin:end] += first - begin
        behind.append(first + end - begin)
    return positions


def spans_of(sample: Sample, start: int) -> list[Span]:
    """What attends to what in one sample that begins at row `start` of the pack."""
    spans: list[Span] = []
    seen: list[tuple[tuple[int, int], ...]] = []  # by whatever continues a run
    for begin, end, parent in _runs(sample):
        before = seen[parent] if seen else ()
        own = (start + begin, end - begin)
        seen.append((*before, own) if end > begin else before)
        spans += [Span(*own, before)] if end > begin else []
    return spans


def _runs(sample: Sample) -> Iterator[tuple[int, int, int]]:
    """First row, end and parent of what all branches continue (its own parent is no matter), and of each branch."""
    starts = (0, *sample.branches)
    parents = sample.parents or (0,) * len(sample.branches)
    yield from zip(starts, (*starts[1:], len(sample.ids)), (0, *parents), strict=True)


def _row(values: NDArray[np.signedinteger]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))[None]
