"""One pack over several processes: rows are cut among them, and attention swaps rows for heads.

DeepSpeed Ulysses (arXiv 2309.14509): outside attention every process has a run of rows and all heads; inside, all rows
and a share of the heads. Two exchanges a layer and pass. Limits: text runs; the attention heads are a multiple of the
processes; where the key-value heads are not, they are repeated first, which sends more.
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
    """How `ranks` processes hold a pack of `total` rows: `rows` each, the last ones padded."""

    plan: AttentionPlan  # of the whole pack
    ranks: int
    rows: int
    total: int

    def to(self, device: torch.device) -> "Exchange":
        """The same on another device."""
        return Exchange(self.plan.to(device), self.ranks, self.rows, self.total)

    def whole(self, states: Tensor, heads: int) -> Tensor:
        """[1, own heads of this tensor, rows, D] -> [1, heads / ranks, total, D]; `heads` are the queries'."""
        if states.shape[1] % self.ranks:
            states = states.repeat_interleave(heads // states.shape[1], 1)
        width = states.shape[-1]
        apart = states[0].reshape(self.ranks, -1, self.rows, width)  # a share of the heads to each
        rows = _swap(apart, self.ranks)  # [ranks, heads / ranks, rows, D]: everyone's rows of our heads
        return rows.transpose(0, 1).reshape(1, -1, self.ranks * self.rows, width)[:, :, : self.total]

    def own(self, attended: Tensor) -> Tensor:
        """[1, total, heads / ranks, D] -> [1, rows, heads, D]."""
        heads, width = attended.shape[-2:]
        padded = torch.nn.functional.pad(attended[0], (0, 0, 0, 0, 0, self.ranks * self.rows - self.total))
        heads_of_all = _swap(padded.reshape(self.ranks, self.rows, heads, width), self.ranks)
        return heads_of_all.transpose(0, 1).reshape(1, self.rows, self.ranks * heads, width)


def _swap(states: Tensor, ranks: int) -> Tensor:
    return cast(Tensor, _Swap.apply(states, ranks))


class _Swap(torch.autograd.Function):
    """Part i of the first dimension goes to process i; its own inverse, so gradients go the same way."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, ranks: int) -> Tensor:
        ctx.ranks = ranks
        swapped = torch.empty_like(states, memory_format=torch.contiguous_format)
        group.all_to_all_single(swapped, states.contiguous(), group=_group_of(ranks))
        return swapped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _swap(grads[0], ctx.ranks), None


@cache
def _group_of(ranks: int) -> Any:
    """The processes that share a pack with this one: runs of `ranks`. Made once, by all processes together."""
    world = distributed.ranks().world
    groups = [group.new_group(list(range(start, start + ranks))) for start in range(0, world, ranks)]
    return groups[distributed.ranks().rank // ranks]
