"""Which samples share a forward pass, and which forward passes share an optimizer step. Pure numpy.

The plan of an epoch is made for all processes at once and then sliced by rank, so exact resume needs two integers
and no rank runs dry.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm.data.bin_packing import Indices, PackBudget, balance, best_fit
from llm.errors import ConfigError

_Packs = tuple[Indices, ...]


@dataclass(frozen=True, slots=True)
class PackItem:
    """Samples that one pack holds together, as many rows as they take there, and their pictures."""

    members: Indices
    tokens: int
    images: int


@dataclass(frozen=True, slots=True)
class PackPlan:
    """One epoch: `steps[s][p]` lists the samples of pack p of optimizer step s.

    Laws: every sample stands exactly once, no pack exceeds a budget, and with `flatten` a step holds the same samples
    however many ranks share it. A step need not hold a multiple of `world` packs: see `of_rank`.
    """

    steps: tuple[tuple[Indices, ...], ...]
    world: int

    def __len__(self) -> int:
        return len(self.steps)


def of_rank(packs: Sequence[Indices], rank: int, world: int) -> tuple[Sequence[Indices], bool]:
    """The packs of one rank of a step, and whether the rank idles while others run one more."""
    own = packs[rank::world]
    return own, len(own) < -(-len(packs) // world)


def plan_packs(
    tokens: Indices,
    images: Indices,
    budget: PackBudget,
    *,
    batch: int,
    order: Indices,
    mode: Literal["flatten", "fill"] = "flatten",
    world: int = 1,
    items: Callable[[Indices], list[PackItem]] | None = None,
) -> PackPlan:
    """Plan one epoch over the samples in `order` (indices into `tokens` and `images`).

    `flatten`: a step holds the next `batch` samples, split into as few packs as the budgets allow.
    `fill`: packs are filled over the whole epoch by best-fit decreasing; a step holds the number of packs that hold
    about `batch` samples.
    `items` tells which of `batch` samples stay together and what they cost then; alone otherwise.

    Raises ConfigError when a sample exceeds a budget by itself.
    """
    _refuse_oversized(tokens, images, budget)
    if mode == "fill":
        shared = None if items is None else [item for chunk in _chunks(order, batch) for item in items(chunk)]
        costs = (tokens[order], images[order]) if shared is None else _costs(shared)
        return PackPlan(_fill_steps(costs, budget, batch, order, world, shared), world)
    steps = [
        _split_singles(chunk, tokens[chunk].tolist(), images[chunk].tolist(), budget, world)
        if items is None
        else _split_step(items(chunk), budget, world)
        for chunk in _chunks(order, batch)
    ]
    return PackPlan(tuple(steps), world)


def _costs(items: list[PackItem]) -> tuple[Indices, Indices]:
    return np.array([item.tokens for item in items]), np.array([item.images for item in items])


def epoch_order(
    weights: NDArray[np.float64], seed: int, epoch: int, groups: NDArray[np.int64] | None = None
) -> Indices:
    """A seeded permutation in which sample i stands floor(weight) times, and once more with the fraction's chance.

    With `groups` it permutes groups: samples of one key follow each other (those of key 0 stand alone).
    """
    random = np.random.default_rng([seed, epoch])
    whole = np.floor(weights).astype(np.int64)
    extra = random.random(len(weights)) < (weights - whole)
    order = random.permutation(np.repeat(np.arange(len(weights)), whole + extra))
    if groups is None:
        return order
    keys = np.where(groups[order] == 0, -1 - np.arange(len(order)), groups[order])
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return order[np.argsort(first[group], kind="stable")]  # each group where its first member came


def _refuse_oversized(tokens: Indices, images: Indices, budget: PackBudget) -> None:
    if len(tokens) and tokens.max() > budget.tokens:
        raise ConfigError(
            f"train.pack_tokens is {budget.tokens}, but a sample has {tokens.max()} tokens. "
            "Raise train.pack_tokens or lower data.max_length"
        )
    if len(images) and images.max() > budget.images:
        raise ConfigError(
            f"train.pack_images is {budget.images}, but a sample has {images.max()} images. Raise train.pack_images"
        )


def _chunks(order: Indices, batch: int) -> Iterator[Indices]:
    """Consecutive runs of `batch` samples."""
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def _split_step(items: list[PackItem], budget: PackBudget, world: int) -> tuple[Indices, ...]:
    """The fewest balanced packs, a multiple of `world` where there are samples enough."""
    tokens, images = [item.tokens for item in items], [item.images for item in items]
    count = _least(sum(tokens), sum(images), budget, world)
    if count > len(items):  # more ranks than groups: what shares a prefix is shared out
        items = [PackItem(member[None], item.tokens, item.images) for item in items for member in item.members]
        tokens, images = [item.tokens for item in items], [item.images for item in items]
    packs = _fewest(tokens, images, budget, count, world)
    return tuple(_members(items, pack) for pack in packs)


def _split_singles(chunk: Indices, tokens: list[int], images: list[int], budget: PackBudget, world: int) -> _Packs:
    """The same where nothing is shared, without an object a sample: a plan may hold a million."""
    count = _least(sum(tokens), sum(images), budget, world)
    return tuple(chunk[pack] for pack in _fewest(tokens, images, budget, count, world))


def _least(tokens: int, images: int, budget: PackBudget, world: int) -> int:
    need = max(-(-tokens // budget.tokens), -(-images // budget.images), 1)
    return -(-need // world) * world


def _fewest(tokens: list[int], images: list[int], budget: PackBudget, count: int, world: int) -> list[list[int]]:
    """Balanced packs, `count` or more if they do not fit; a sample each at most."""
    while count <= len(tokens):
        packs = [[*range(len(tokens))]] if count == 1 else balance(tokens, images, budget, count)
        if packs is not None:
            return packs
        count += world
    return [[index] for index in range(len(tokens))]


def _members(items: list[PackItem], pack: list[int]) -> Indices:
    return np.concatenate([items[index].members for index in pack])


def _fill_steps(
    costs: tuple[Indices, Indices],
    budget: PackBudget,
    batch: int,
    order: Indices,
    world: int,
    items: list[PackItem] | None,
) -> tuple[_Packs, ...]:
    """`costs` are rows and pictures of every item, or of every sample of `order` where nothing is shared."""
    found = best_fit(*costs, budget)
    packs = [order[pack] if items is None else _members(items, pack.tolist()) for pack in found]
    while len(packs) % world:
        widest = max(range(len(packs)), key=lambda index: len(packs[index]))
        if len(packs[widest]) < 2:
            break
        pack = packs.pop(widest)
        packs += [pack[::2], pack[1::2]]
    # Packs come out longest first; the epoch's order decides when each is seen.
    rank_of = np.empty(int(order.max()) + 1, np.int64)
    rank_of[order] = np.arange(len(order))
    packs.sort(key=lambda pack: int(rank_of[pack].min()))
    mean = int(costs[0].sum()) / len(order)
    per_step = world * max(1, round(batch * mean / budget.tokens / world))
    return tuple(tuple(packs[start : start + per_step]) for start in range(0, len(packs), per_step))
