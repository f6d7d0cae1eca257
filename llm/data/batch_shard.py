"""A process's rows of a pack that several processes share."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from llm.attention.ulysses import Exchange
from llm.data.batch import PackedBatch
from llm.encoding.encoder import IGNORED


@dataclass(frozen=True, slots=True)
class BatchShard:
    """R rows of a pack, padded with rows that nobody sees. K of the pack's targets; here there may be none."""

    input_ids: Tensor  # [1, R]
    position_ids: Tensor  # [1, R]
    target_rows: Tensor  # [K]
    targets: Tensor  # [K]
    attention: Exchange
    samples: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Rows of the whole pack."""
        return self.attention.total

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.tokens:,} tokens ({len(self.samples)} samples)"

    def muted(self) -> "BatchShard":
        """The same rows with nothing to learn."""
        return replace(self, targets=torch.full_like(self.targets, IGNORED))

    def to(self, device: torch.device) -> "BatchShard":
        """The same rows on another device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            target_rows=self.target_rows.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            attention=self.attention.to(device),
        )


def shard_batch(batch: PackedBatch, ranks: int, rank: int) -> BatchShard:
    """The rows of process `rank` of `ranks`."""
    rows = -(-batch.tokens // ranks)
    first, missing = rank * rows, ranks * rows - batch.tokens
    mine = (batch.target_rows >= first) & (batch.target_rows < first + rows)
    return BatchShard(
        input_ids=pad(batch.input_ids, (0, missing))[:, first : first + rows],
        position_ids=pad(batch.position_ids, (0, missing))[:, first : first + rows],
        target_rows=batch.target_rows[mine] - first,
        targets=batch.targets[mine],
        attention=Exchange(batch.attention, ranks, rows, batch.tokens),
        samples=batch.samples,
    )
