"""Sequence parallelism: one pack is split over several processes, which exchange positions for heads around attention.

DeepSpeed Ulysses (arXiv 2309.14509): outside attention each process holds a run of positions and all heads, inside it
all positions and an equal share of the heads. This takes two all-to-all exchanges a layer and pass. Limits: text runs
only; the number of attention heads is a multiple of the number of processes. Where the number of key-value heads is
not, they are repeated before the exchange, which sends more.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch import distributed as group

from llm import distributed
from llm.attention.layout import AttentionPlan


@dataclass(frozen=True, slots=True)
class Exchange:
    """How `ranks` processes split a pack of `total` positions: `shard` consecutive ones to each, the last padded."""

    plan: AttentionPlan  # of the complete pack
    ranks: int
    shard: int
    total: int

    def to(self, device: torch.device) -> "Exchange":
        """The same on another device."""
        return Exchange(self.plan.to(device), self.ranks, self.shard, self.total)

    def gather_positions(self, states: Tensor, heads: int) -> Tensor:
        """[1, heads of this tensor, shard, D] -> [1, heads / ranks, total, D]; `heads` is the number of query heads."""
        if states.shape[1] % self.ranks:
            states = states.repeat_interleave(heads // states.shape[1], 1)
        width = states.shape[-1]
        by_rank = states[0].reshape(self.ranks, -1, self.shard, width)  # one share of the heads for each process
        received = _all_to_all(by_rank, self.ranks)  # [ranks, heads / ranks, shard, D]: our heads from each process
        return received.transpose(0, 1).reshape(1, -1, self.ranks * self.shard, width)[:, :, : self.total]

    def gather_heads(self, attended: Tensor) -> Tensor:
        """[1, total, heads / ranks, D] -> [1, shard, heads, D]."""
        heads, width = attended.shape[-2:]
        padded = torch.nn.functional.pad(attended[0], (0, 0, 0, 0, 0, self.ranks * self.shard - self.total))
        received = _all_to_all(padded.reshape(self.ranks, self.shard, heads, width), self.ranks)
        return received.transpose(0, 1).reshape(1, self.shard, self.ranks * heads, width)


def _all_to_all(states: Tensor, ranks: int) -> Tensor:
    return cast(Tensor, _AllToAll.apply(states, ranks))


class _AllToAll(torch.autograd.Function):
    """Sends part i of the first dimension to process i. Its own inverse: gradients are exchanged the same way."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, ranks: int) -> Tensor:
        ctx.ranks = ranks
        received = torch.empty_like(states, memory_format=torch.contiguous_format)
        group.all_to_all_single(received, states.contiguous(), group=_group_of(ranks))
        return received

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _all_to_all(grads[0], ctx.ranks), None


@cache
def _group_of(ranks: int) -> Any:
    """The process group, `ranks` consecutive processes, that shares a pack with this one.

    All processes must make their first call together: creating groups is a collective.
    """
    world = distributed.ranks().world
    groups = [group.new_group(list(range(start, start + ranks))) for start in range(0, world, ranks)]
    return groups[distributed.ranks().rank // ranks]
