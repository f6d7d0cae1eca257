"""Which samples share a forward pass, and which forward passes share an optimizer step. Pure numpy.

The plan of an epoch is made for all processes at once and then sliced by rank, so exact resume needs two integers
and no rank runs dry.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm.errors import ConfigError, DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Budget:
    """What one forward pass may hold."""

    tokens: int
    images: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples that one pack holds together, as many rows as they take there, and their pictures."""

    members: Indices
    tokens: int
    images: int


@dataclass(frozen=True, slots=True)
class PackPlan:
    """One epoch: `steps[s][p]` lists the samples of pack p of optimizer step s.

    Laws: every sample stands exactly once, no pack exceeds a budget, every step holds a multiple of `world` packs.
    """

    steps: tuple[tuple[Indices, ...], ...]
    world: int

    def __len__(self) -> int:
        return len(self.steps)

    def packs(self, step: int, rank: int) -> tuple[Indices, ...]:
        """The packs of one rank in one step; every rank gets equally many."""
        return self.steps[step][rank :: self.world]


def plan_packs(
    tokens: Indices,
    images: Indices,
    budget: Budget,
    *,
    batch: int,
    order: Indices,
    mode: Literal["flatten", "fill"] = "flatten",
    world: int = 1,
    units: Callable[[Indices], list[Unit]] | None = None,
) -> PackPlan:
    """Plan one epoch over the samples in `order` (indices into `tokens` and `images`).

    `flatten`: a step holds the next `batch` samples, split into as few packs as the budgets allow. `units` tells which
    of a step's samples stay together and what they cost then; alone otherwise.
    `fill`: packs are filled over the whole epoch by best-fit decreasing; a step holds the number of packs that hold
    about `batch` samples.

    Raises ConfigError when a sample exceeds a budget by itself, DataError when there are fewer samples than ranks.
    """
    _refuse_oversized(tokens, images, budget)
    if len(order) < world:
        raise DataError(f"{len(order)} samples cannot feed {world} processes. Use fewer processes or more data")
    if mode == "flatten":
        together = units or (lambda chunk: _singles(chunk, tokens, images))
        steps = tuple(_split_step(together(chunk), budget, world) for chunk in _chunks(order, batch, world))
        return PackPlan(steps, world)
    return PackPlan(_fill_steps(tokens, images, budget, batch, order, world), world)


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


def _refuse_oversized(tokens: Indices, images: Indices, budget: Budget) -> None:
    if len(tokens) and tokens.max() > budget.tokens:
        raise ConfigError(
            f"train.pack_tokens is {budget.tokens}, but a sample has {tokens.max()} tokens. "
            "Raise train.pack_tokens or lower data.max_length"
        )
    if len(images) and images.max() > budget.images:
        raise ConfigError(
            f"train.pack_images is {budget.images}, but a sample has {images.max()} images. Raise train.pack_images"
        )


def _chunks(order: Indices, batch: int, world: int) -> Iterator[Indices]:
    """Consecutive runs of `batch` samples; a tail too short for all ranks joins the run before it."""
    starts = list(range(0, len(order), batch))
    if len(starts) > 1 and len(order) - starts[-1] < world:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]


def _singles(chunk: Indices, tokens: Indices, images: Indices) -> list[Unit]:
    members = chunk[:, None]
    return list(map(Unit, members, tokens[chunk].tolist(), images[chunk].tolist()))


def _split_step(units: list[Unit], budget: Budget, world: int) -> tuple[Indices, ...]:
    """The fewest balanced packs, a multiple of `world`, found by longest-processing-time assignment."""
    need = max(
        -(-sum(unit.tokens for unit in units) // budget.tokens),
        -(-sum(unit.images for unit in units) // budget.images),
        1,
    )
    count = -(-need // world) * world
    if count > len(units):  # more ranks than groups: what shares a prefix is shared out
        units = [Unit(member[None], unit.tokens, unit.images) for unit in units for member in unit.members]
    while count <= len(units):
        packs = _balance(units, budget, count)
        if packs is not None:
            return packs
        count += world
    if world == 1:
        return tuple(unit.members for unit in units)
    raise ConfigError(
        f"a step of {len(units)} samples cannot be shared evenly among {world} processes under train.pack_tokens "
        f"{budget.tokens}. Raise train.pack_tokens, or make train.batch a multiple of {world}"
    )


def _balance(units: list[Unit], budget: Budget, count: int) -> tuple[Indices, ...] | None:
    """Assign longest first to the lightest pack with room; None when that fails or leaves a pack empty."""
    if count == 1:
        return (np.concatenate([unit.members for unit in units]),)
    packs: list[list[Indices]] = [[] for _ in range(count)]
    load, held = [0] * count, [0] * count
    for unit in sorted(units, key=lambda unit: -unit.tokens):
        room = [
            pack
            for pack in range(count)
            if load[pack] + unit.tokens <= budget.tokens and held[pack] + unit.images <= budget.images
        ]
        if not room:
            return None
        target = min(room, key=load.__getitem__)
        packs[target].append(unit.members)
        load[target] += unit.tokens
        held[target] += unit.images
    return tuple(np.concatenate(pack) for pack in packs) if all(packs) else None


def _fill_steps(
    tokens: Indices, images: Indices, budget: Budget, batch: int, order: Indices, world: int
) -> tuple[tuple[Indices, ...], ...]:
    packs = best_fit(tokens, images, budget, order)
    while len(packs) % world:
        widest = max(range(len(packs)), key=lambda index: len(packs[index]))
        if len(packs[widest]) < 2:
            raise DataError(f"{len(packs)} packs cannot be shared among {world} processes. Use train.packing: flatten")
        pack = packs.pop(widest)
        packs += [pack[::2], pack[1::2]]
    # Packs come out longest first; the epoch's order decides when each is seen.
    rank_of = np.empty(int(order.max()) + 1, np.int64)
    rank_of[order] = np.arange(len(order))
    packs.sort(key=lambda pack: int(rank_of[pack].min()))
    mean = float(tokens[order].mean())
    per_step = world * max(1, round(batch * mean / budget.tokens / world))
    return tuple(tuple(packs[start : start + per_step]) for start in range(0, len(packs), per_step))


def best_fit(tokens: Indices, images: Indices, budget: Budget, order: Indices) -> list[Indices]:
    """Best-fit decreasing: each sample, longest first, goes to the fullest pack that still has room for it."""
    packs: list[list[int]] = []
    held: list[int] = []
    open_packs: list[tuple[int, int]] = []  # (tokens left, pack), sorted: the first fitting entry is the fullest
    for sample in order[np.argsort(-tokens[order], kind="stable")]:
        length, pictures = int(tokens[sample]), int(images[sample])
        at = bisect_left(open_packs, (length, -1))
        while at < len(open_packs) and held[open_packs[at][1]] + pictures > budget.images:
            at += 1
        if at == len(open_packs):
            left, pack = budget.tokens, len(packs)
            packs.append([])
            held.append(0)
        else:
            left, pack = open_packs.pop(at)
        packs[pack].append(int(sample))
        held[pack] += pictures
        insort(open_packs, (left - length, pack))
    return [np.asarray(pack, np.int64) for pack in packs]
