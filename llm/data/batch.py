"""A pack as tensors: several samples one after the other in one sequence, without padding.

Two samples, prompts `p`, answers `a` and `b`, end token `e` (the last one is a target only):

    input_ids       [[ p0  p1  a0  a1 | p2  p3  b0 ]]     T = 7 tokens of n = 2 samples
    position_ids    [[ 0   1   2   3  | 0   1   2  ]]     restart at each sample
    cu_seqlens       [ 0                4            7 ]  where samples start, and T
    label              -   a0  a1  e  | -   b0  e         the next token where it is trained on (encoder: shifted there)
    target_indices   [     1   2   3        5   6  ]      K = 5 tokens that have a label
    targets          [     a0  a1  e        b0  e  ]

    attends to         p0  p1  a0  a1   p2  p3  b0
    p0                 x
    p1                 x   x
    a0                 x   x   x
    a1                 x   x   x   x
    p2                                  x
    p3                                  x   x
    b0                                  x   x   x

A sample with branches (see the drawing in `llm.data.prefix_sharing`) is one entry of `cu_seqlens`; its branches
continue the positions of what they branch from, and attend to that and to themselves.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.attention.layout import AttentionPlan, Span, plan_attention
from llm.encoding.encoder import IGNORED, Sample


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One pack of n samples with T tokens, K of them with a target. int64 where nothing else is said.

    What the fields must agree on is asserted when a batch is made.
    """

    input_ids: Tensor  # [1, T]
    position_ids: Tensor  # [1, T]
    cu_seqlens: Tensor  # [n + 1], int32
    target_indices: Tensor  # [K], ascending, into T
    targets: Tensor  # [K], token ids; all IGNORED in a muted batch
    attention: AttentionPlan  # which tokens attend to which
    samples: tuple[int, ...]  # [n or more], indices into the corpus, for messages

    def __post_init__(self) -> None:
        tokens = self.input_ids.shape[1]
        assert self.position_ids.shape == (1, tokens), "one position a token"
        assert self.target_indices.shape == self.targets.shape, "one index a target"
        assert len(self.targets) > 0, "a pack without a target has no gradient"
        assert len(self.attention.within) == tokens, "every token attends once"

    @property
    def tokens(self) -> int:
        """T."""
        return self.input_ids.shape[1]

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.tokens:,} tokens ({len(self.samples)} samples)"

    def muted(self) -> "PackedBatch":
        """The same pack with all targets IGNORED: the same computation, but loss and gradients are 0."""
        return replace(self, targets=torch.full_like(self.targets, IGNORED))

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch on another device; ids, positions and targets are copied without waiting."""
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            cu_seqlens=self.cu_seqlens.to(device, non_blocking=True),
            target_indices=self.target_indices.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            attention=self.attention.to(device),
        )


def collate(samples: list[Sample], indices: tuple[int, ...] = ()) -> PackedBatch:
    """The samples as one pack, in their order; `indices` are theirs in the corpus."""
    starts = np.concatenate([[0], np.cumsum([len(sample.ids) for sample in samples])])
    labels = np.concatenate([sample.labels for sample in samples])
    target_indices = np.flatnonzero(labels != IGNORED)
    spans = [span for start, sample in zip(starts.tolist(), samples, strict=False) for span in spans_of(sample, start)]
    return PackedBatch(
        input_ids=_one_row(np.concatenate([sample.ids for sample in samples])),
        position_ids=_one_row(np.concatenate([positions_of(sample) for sample in samples])),
        cu_seqlens=torch.from_numpy(starts.astype(np.int32)),
        target_indices=torch.from_numpy(target_indices),
        targets=torch.from_numpy(labels[target_indices].astype(np.int64)),
        attention=plan_attention(spans, int(starts[-1])),
        samples=indices,
    )


def positions_of(sample: Sample) -> NDArray[np.int64]:
    """Positions of a sample's tokens: from 0, and in each branch from the end of the node that it continues."""
    positions = np.arange(len(sample.ids))
    next_positions: list[int] = []  # after each node's last token
    for start, end, parent in sample.nodes():
        first = next_positions[parent] if next_positions else 0
        positions[start:end] += first - start
        next_positions.append(first + end - start)
    return positions


def spans_of(sample: Sample, offset: int) -> list[Span]:
    """The spans of a sample whose first token is token `offset` of the pack: its nodes with their ancestors."""
    spans: list[Span] = []
    paths: list[tuple[tuple[int, int], ...]] = []  # each node's ancestors and itself: (start, length)
    for start, end, parent in sample.nodes():
        ancestors = paths[parent] if paths else ()
        node = (offset + start, end - start)
        paths.append((*ancestors, node) if end > start else ancestors)
        spans += [Span(*node, ancestors)] if end > start else []
    return spans


def _one_row(values: NDArray[np.signedinteger]) -> Tensor:
    """[T] -> [1, T], int64."""
    return torch.from_numpy(values.astype(np.int64))[None]
