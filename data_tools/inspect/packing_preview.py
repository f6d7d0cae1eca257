"""The packs that training makes of a corpus in one epoch: how many, how full, and how much shared prefixes save."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm.config.schema import TrainConfig
from llm.data.corpus import Corpus
from llm.data.loader import order_epoch, plan_epoch
from llm.data.prefix_sharing import NO_PREFIX
from llm.encoding.encoder import Sample

Mode = Literal["flatten", "fill"]
Order = Literal["random", "by_image"]


@dataclass(frozen=True, slots=True)
class EpochPacking:
    """One epoch packed in one mode and order. The field names are those of `data stats --json`."""

    mode: Mode
    order: Order
    budget: int  # tokens of a pack at most
    pictures: int  # images of a pack at most
    batch: int  # samples of a step
    packs: int
    steps: int
    rows: int  # tokens that are computed, of all packs
    unfolded: int  # tokens that would be computed if no prefix were shared

    @property
    def fullness(self) -> float:
        """The share of the token budget that the packs fill."""
        return self.rows / (self.packs * self.budget)

    @property
    def saved(self) -> float:
        """The share of tokens that need not be computed because prefixes are shared."""
        return 1 - self.rows / self.unfolded


def preview_packing(
    corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int
) -> Iterator[tuple[EpochPacking, NDArray[np.int64]]]:
    """Pack the first epoch over the samples `chosen` in both modes, and in both orders where samples share a prefix.

    Yields each packing with the tokens of its packs. Raises ConfigError when a record exceeds a budget by itself.
    """
    orders: list[Order] = [train.order]
    if train.order == "random" and train.fold == "auto" and _share_prefixes(corpus):
        orders.append("by_image")
    for order in orders:
        for mode in ("flatten", "fill"):
            yield _pack(corpus, chosen, train.model_copy(update={"packing": mode, "order": order}), seed)


def _pack(
    corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int
) -> tuple[EpochPacking, NDArray[np.int64]]:
    order = order_epoch(corpus, chosen, train, seed, epoch=0)
    plan = plan_epoch(corpus, order, train)
    loads = np.array([_load(corpus, pack, train) for step in plan.steps for pack in step], np.int64)
    packing = EpochPacking(
        mode=train.packing,
        order=train.order,
        budget=train.pack_tokens,
        pictures=train.pack_images,
        batch=train.batch,
        packs=len(loads),
        steps=len(plan),
        rows=int(loads.sum()),
        unfolded=int((corpus.lengths + _repeated_prefixes(corpus))[order].sum()),
    )
    return packing, loads


def _load(corpus: Corpus, pack: NDArray[np.int64], train: TrainConfig) -> int:
    """The tokens of a pack; a prefix that samples share counts once where training folds."""
    if train.fold != "auto":
        return int(corpus.lengths[pack].sum())
    return sum(item.tokens for item in corpus.pack_items(pack, train.pack_tokens))


def _share_prefixes(corpus: Corpus) -> bool:
    """Whether any two samples may share a prefix."""
    shares = np.asarray(corpus.shares)
    shares = shares[shares != NO_PREFIX]
    return len(np.unique(shares)) < len(shares)


def _repeated_prefixes(corpus: Corpus) -> NDArray[np.int64]:
    """By how many tokens each sample would grow if its branches were samples of their own (`data.turns: apart`)."""
    branches = np.diff(corpus.branch_offsets)
    repeated = np.zeros(len(corpus), np.int64)
    folded = branches > 0
    prefix = corpus.branches[corpus.branch_offsets[:-1][folded]]
    repeated[folded] = (branches[folded] - 1) * prefix
    owners = np.repeat(np.arange(len(corpus)), branches)
    for index in np.unique(owners[corpus.parents > 0]).tolist():  # trees of more than one level
        repeated[index] = _repeated(corpus.sample(index))
    return repeated


def _repeated(sample: Sample) -> int:
    lengths = [end - start for start, end, _ in sample.nodes()]
    return sum(lengths[node] for path in sample.paths() for node in path) - len(sample.ids)
