"""The packs that training would make of a corpus in one epoch: how many, how full, and what shared prefixes save."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm.config.schema import TrainConfig
from llm.data.bin_packing import Budget
from llm.data.corpus import Corpus
from llm.data.packing import epoch_order, plan_packs
from llm.data.prefix_sharing import ALONE

Mode = Literal["flatten", "fill"]
Order = Literal["random", "by_image"]


@dataclass(frozen=True, slots=True)
class EpochPacking:
    """One epoch as one mode packs it; `rows` are computed, `unfolded` would be if nothing were shared."""

    mode: Mode
    order: Order
    budget: int
    pictures: int  # budget of images
    batch: int
    packs: int
    steps: int
    rows: int
    unfolded: int

    @property
    def fullness(self) -> float:
        """Share of the budget that the packs fill."""
        return self.rows / (self.packs * self.budget)

    @property
    def saved(self) -> float:
        """Share of the rows that folding saves."""
        return 1 - self.rows / self.unfolded


def preview_packing(
    corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int
) -> Iterator[tuple[EpochPacking, NDArray[np.int64]]]:
    """The first epoch over the samples `chosen`, packed in both modes, each with the rows of its packs.

    Where samples share a prefix, in both orders.

    Raises ConfigError when a record exceeds a budget by itself.
    """
    weights = np.zeros(len(corpus))
    weights[chosen] = corpus.weights[chosen]
    orders: list[Order] = [train.order]
    if train.order == "random" and train.fold == "auto" and _shares(corpus):
        orders.append("by_image")
    for order in orders:
        for mode in ("flatten", "fill"):
            yield _packing(corpus, weights, train, seed, mode, order)


def _packing(
    corpus: Corpus, weights: NDArray[np.float64], train: TrainConfig, seed: int, mode: Mode, order: Order
) -> tuple[EpochPacking, NDArray[np.int64]]:
    lengths = corpus.lengths
    units = partial(corpus.units, budget=train.pack_tokens) if train.fold == "auto" else None
    epoch = epoch_order(weights, seed, 0, corpus.shares if order == "by_image" else None)
    budget = Budget(train.pack_tokens, train.pack_images)
    plan = plan_packs(lengths, corpus.image_counts, budget, batch=train.batch, order=epoch, mode=mode, units=units)
    packs = [pack for step in plan.steps for pack in step]
    loads = np.array(
        [lengths[pack].sum() if units is None else sum(unit.tokens for unit in units(pack)) for pack in packs], np.int64
    )
    unfolded = int((lengths + _within(corpus))[epoch].sum())
    found = EpochPacking(
        mode, order, budget.tokens, budget.images, train.batch, len(packs), len(plan), int(loads.sum()), unfolded
    )
    return found, loads


def _shares(corpus: Corpus) -> bool:
    """Whether any two samples may share a prefix."""
    shares = np.asarray(corpus.shares)
    shares = shares[shares != ALONE]
    return len(np.unique(shares)) < len(shares)


def _within(corpus: Corpus) -> NDArray[np.int64]:
    """Rows that each sample would take more if its branches were samples of their own (`data.turns: apart`)."""
    branches = np.diff(corpus.branch_offsets)
    more = np.zeros(len(corpus), np.int64)
    folded = branches > 0
    prefix = corpus.branches[corpus.branch_offsets[:-1][folded]]
    more[folded] = (branches[folded] - 1) * prefix
    return more
