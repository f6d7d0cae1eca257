"""The plan of an epoch: which samples share a pack, and which packs an optimizer step. Pure numpy.

It is made for all processes at once and then sliced by rank: a resume needs the step number only, and no rank runs
out of packs before the others.
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
    """Samples that are packed together, and their tokens and images: those that they share count once."""

    members: Indices  # of the samples
    tokens: int
    images: int


@dataclass(frozen=True, slots=True)
class PackPlan:
    """One epoch: `steps[s][p]` are the indices of the samples in pack p of optimizer step s.

    Every sample of the order is in exactly one pack, no pack exceeds the budget, and with `flatten` the samples of a
    step do not depend on `world`. The packs of a step need not be a multiple of `world`: see `of_rank`.
    """

    steps: tuple[tuple[Indices, ...], ...]
    world: int

    def __len__(self) -> int:
        return len(self.steps)


def of_rank(packs: Sequence[Indices], rank: int, world: int) -> tuple[Sequence[Indices], bool]:
    """The packs of a step that `rank` computes, and whether others have one more."""
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
    """Plan one epoch over the samples in `order`, which are indices into `tokens` [n] and `images` [n].

    `flatten`: a step has the next `batch` samples of the order, in as few packs as the budget allows. `fill`: packs are
    filled from the complete epoch by best-fit decreasing; a step has the number of packs that hold about `batch`
    samples. `items` groups the samples of a chunk that are packed together; without it each is packed alone.

    Raises ConfigError when a single sample exceeds the budget.
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
    """A seeded permutation with sample i floor(weight) times, and once more with the probability of the fraction.

    With `groups` [n], samples of equal key follow each other, in groups in random order; key 0 is no group.
    """
    random = np.random.default_rng([seed, epoch])
    floor = np.floor(weights).astype(np.int64)
    extra = random.random(len(weights)) < (weights - floor)
    order = random.permutation(np.repeat(np.arange(len(weights)), floor + extra))
    if groups is None:
        return order
    keys = np.where(groups[order] == 0, -1 - np.arange(len(order)), groups[order])
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return order[np.argsort(first[group], kind="stable")]  # groups in the order of their first members


def _refuse_oversized(tokens: Indices, images: Indices, budget: PackBudget) -> None:
    if len(tokens) and tokens.max() > budget.tokens:
        raise ConfigError(
            f"train.pack_tokens is {budget.tokens}, but a sample has {tokens.max()} tokens. "
            "Raise train.pack_tokens or lower data.max_length"
        )
    if len(images) and images.max() > budget.images:
        raise ConfigError(
            f"train.pack_images is {budget.images}, but a sample has {images.max()} images, counting each view of a "
            "tiled image. Raise train.pack_images"
        )


def _chunks(order: Indices, batch: int) -> Iterator[Indices]:
    """`batch` consecutive samples at a time."""
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def _split_step(items: list[PackItem], budget: PackBudget, world: int) -> tuple[Indices, ...]:
    """The fewest balanced packs; a multiple of `world`, unless there are fewer samples."""
    tokens, images = [item.tokens for item in items], [item.images for item in items]
    count = _least(sum(tokens), sum(images), budget, world)
    if count > len(items):  # more ranks than items: their samples are packed separately
        items = [PackItem(member[None], item.tokens, item.images) for item in items for member in item.members]
        tokens, images = [item.tokens for item in items], [item.images for item in items]
    packs = _fewest(tokens, images, budget, count, world)
    return tuple(_members(items, pack) for pack in packs)


def _split_singles(chunk: Indices, tokens: list[int], images: list[int], budget: PackBudget, world: int) -> _Packs:
    """The same for single samples, without an object for each: an epoch may have a million."""
    count = _least(sum(tokens), sum(images), budget, world)
    return tuple(chunk[pack] for pack in _fewest(tokens, images, budget, count, world))


def _least(tokens: int, images: int, budget: PackBudget, world: int) -> int:
    need = max(-(-tokens // budget.tokens), -(-images // budget.images), 1)
    return -(-need // world) * world


def _fewest(tokens: list[int], images: list[int], budget: PackBudget, count: int, world: int) -> list[list[int]]:
    """Balanced packs: `count`, or more if those do not fit, up to one item a pack."""
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
    """`costs` are tokens and images of every item or, without items, of every sample of `order`."""
    found = best_fit(*costs, budget)
    packs = [order[pack] if items is None else _members(items, pack.tolist()) for pack in found]
    while len(packs) % world:
        widest = max(range(len(packs)), key=lambda index: len(packs[index]))
        if len(packs[widest]) < 2:
            break
        pack = packs.pop(widest)
        packs += [pack[::2], pack[1::2]]
    # Packs come out longest first; they are trained on in the order of their first samples.
    rank_of = np.empty(int(order.max()) + 1, np.int64)
    rank_of[order] = np.arange(len(order))
    packs.sort(key=lambda pack: int(rank_of[pack].min()))
    mean = int(costs[0].sum()) / len(order)
    per_step = world * max(1, round(batch * mean / budget.tokens / world))
    return tuple(tuple(packs[start : start + per_step]) for start in range(0, len(packs), per_step))
