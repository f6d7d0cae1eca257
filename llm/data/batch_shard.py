"""The tokens of a pack that one of several processes computes (`parallel.sequence`)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from llm.attention.ulysses import Exchange
from llm.data.batch import PackedBatch
from llm.encoding.encoder import IGNORED


@dataclass(frozen=True, slots=True)
class BatchShard:
    """R consecutive tokens of a pack and the K of its targets that are among them, which may be none.

    The last shard is padded to R with tokens that no other token attends to.
    """

    input_ids: Tensor  # [1, R]
    position_ids: Tensor  # [1, R]
    target_indices: Tensor  # [K], into R
    targets: Tensor  # [K]
    attention: Exchange
    samples: tuple[int, ...]  # of the complete pack

    @property
    def tokens(self) -> int:
        """Tokens of the complete pack."""
        return self.attention.total

    def describe(self) -> str:
        """The size of the complete pack, for messages."""
        return f"{self.tokens:,} tokens ({len(self.samples)} samples)"

    def muted(self) -> "BatchShard":
        """The same shard with all targets IGNORED."""
        return replace(self, targets=torch.full_like(self.targets, IGNORED))

    def to(self, device: torch.device) -> "BatchShard":
        """The same shard on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            target_indices=self.target_indices.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            attention=self.attention.to(device),
        )


def shard_batch(batch: PackedBatch, ranks: int, rank: int) -> BatchShard:
    """The shard of process `rank` of `ranks`: ceil(T / ranks) tokens."""
    size = -(-batch.tokens // ranks)
    start, missing = rank * size, ranks * size - batch.tokens
    own = (batch.target_indices >= start) & (batch.target_indices < start + size)
    return BatchShard(
        input_ids=pad(batch.input_ids, (0, missing))[:, start : start + size],
        position_ids=pad(batch.position_ids, (0, missing))[:, start : start + size],
        target_indices=batch.target_indices[own] - start,
        targets=batch.targets[own],
        attention=Exchange(batch.attention, ranks, size, batch.tokens),
        samples=batch.samples,
    )
