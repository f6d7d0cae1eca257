"""Sharing things of known size out to packs of a budget: the least packs, or balanced ones; and how few could do.

Sizes are rows of a pack and pictures; what a thing is, one sample or several that share a prefix, does not matter here.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
CLOSE = 0.99  # of the bound: no better plan is looked for


@dataclass(frozen=True, slots=True)
class PackBudget:
    """What one forward pass may hold."""

    tokens: int
    images: int


def balance(tokens: list[int], images: list[int], budget: PackBudget, count: int) -> list[list[int]] | None:
    """Assign longest first to the lightest of `count` packs; None when one does not fit or a pack stays empty.

    Longest-processing-time assignment (Graham 1969): the heaviest pack is at most 4/3 of the best possible one.
    """
    packs: list[list[int]] = [[] for _ in range(count)]
    held = [0] * count
    lightest = [(0, pack) for pack in range(count)]
    for index in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        full = []  # of pictures
        while lightest and held[lightest[0][1]] + images[index] > budget.images:
            full.append(heappop(lightest))
        if not lightest or lightest[0][0] + tokens[index] > budget.tokens:
            return None
        load, pack = heappop(lightest)
        packs[pack].append(index)
        held[pack] += images[index]
        heappush(lightest, (load + tokens[index], pack))
        if full:
            lightest += full
            heapify(lightest)
    return packs if all(packs) else None


def best_fit(tokens: Indices, images: Indices, budget: PackBudget) -> list[Indices]:
    """Best-fit decreasing: each, longest first, goes to the fullest pack that still has room. Indices of `tokens`.

    Where pictures can never be what fills a pack, all of one length are placed at once, with the same loads; and where
    that stays behind the bound, as it does on few different lengths, exactly filled packs are tried too.
    """
    longest_first = np.argsort(-tokens, kind="stable")
    if (images * budget.tokens > tokens * budget.images).any():
        return one_by_one(tokens, images, longest_first, budget)
    packs = _by_length(tokens, longest_first, budget.tokens)
    if at_least_l2(tokens, budget.tokens) >= CLOSE * len(packs):
        return packs
    return min(packs, _filled(tokens, longest_first, budget.tokens), key=len)


def _by_length(tokens: Indices, longest_first: Indices, budget: int) -> list[Indices]:
    pack_of = np.empty(len(tokens), np.int64)  # by place in `longest_first`
    room: list[list[int]] = [[] for _ in range(budget + 1)]  # packs by what they have left
    some = 0  # bit c: room[c] is not empty
    packs = 0
    lengths, first = np.unique(-tokens[longest_first], return_index=True)
    ends = [*first[1:].tolist(), len(tokens)]
    for length, start, end in zip((-lengths).tolist(), first.tolist(), ends, strict=True):
        while start < end:
            fitting = some >> length
            left = length + (fitting & -fitting).bit_length() - 1 if fitting else budget
            each = left // length  # a pack that was the fullest with room stays it until it has none
            wanted = -(-(end - start) // each)
            if fitting:
                used, room[left] = room[left][:wanted], room[left][wanted:]
                some &= ~(0 if room[left] else 1 << left)
            else:
                used = [*range(packs, packs + wanted)]
                packs += wanted
            placed = min(end - start, each * len(used))
            pack_of[start : start + placed] = np.repeat(used, each)[:placed]
            over = each * len(used) - placed  # places that the last pack keeps free
            for ends_with, members in ((left - each * length, used[:-1]), (left - (each - over) * length, used[-1:])):
                room[ends_with] += members
                some |= (1 << ends_with) if members else 0
            start += placed
    by_pack = np.argsort(pack_of, kind="stable")
    return np.split(longest_first[by_pack], np.cumsum(np.bincount(pack_of, minlength=packs))[:-1])


def _filled(tokens: Indices, longest_first: Indices, budget: int) -> list[Indices]:
    """Each pack takes the longest that is left and then what fills it best (Gupta and Ho's minimum bin slack, 1999)."""
    lengths, first, counts = np.unique(-tokens[longest_first], return_index=True, return_counts=True)
    left = dict(zip((-lengths).tolist(), counts.tolist(), strict=True))  # longest first
    at = dict(zip((-lengths).tolist(), first.tolist(), strict=True))
    packs: list[Indices] = []
    while left:
        chosen = _fullest(left, budget)
        for _ in range(min(left[length] // count for length, count in chosen.items())):  # the same again
            packs.append(np.concatenate([longest_first[at[size] : at[size] + count] for size, count in chosen.items()]))
            for size, count in chosen.items():
                at[size] += count
                left[size] -= count
        left = {size: count for size, count in left.items() if count}
    return packs


def _fullest(left: dict[int, int], budget: int) -> dict[int, int]:
    """How many of each length, the first of `left` among them, come closest to `budget`. A subset sum on one integer.

    Bit s of `sums` says whether a sum of s can be made; counts are split into powers of two.
    """
    longest = next(iter(left))
    room = budget - longest
    sums, steps = 1, []
    for length, count in left.items():
        free, times = min(count - (length == longest), room // length), 1
        while free > 0:
            times = min(times, free)
            steps.append((length, times, sums))
            sums |= (sums << length * times) & ((1 << room + 1) - 1)
            free, times = free - times, times * 2
    total = sums.bit_length() - 1
    chosen = {longest: 1}
    for length, times, before in reversed(steps):
        if not before >> total & 1:
            total -= length * times
            chosen[length] = chosen.get(length, 0) + times
    return chosen


def one_by_one(tokens: Indices, images: Indices, longest_first: Indices, budget: PackBudget) -> list[Indices]:
    """Best-fit decreasing as it is written down."""
    packs: list[list[int]] = []
    held: list[int] = []
    open_packs: list[tuple[int, int]] = []  # (tokens left, pack), sorted: the first fitting entry is the fullest
    for sample in longest_first.tolist():
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
        packs[pack].append(sample)
        held[pack] += pictures
        insort(open_packs, (left - length, pack))
    return [np.asarray(pack, np.int64) for pack in packs]


def at_least(tokens: Indices, budget: int) -> int:
    """Packs that no plan can do without: ceil(total / budget)."""
    return -(-int(tokens.sum()) // budget)


def at_least_l2(tokens: Indices, budget: int) -> int:
    """Martello and Toth's bound L2 (1990, section 8.3), never below `at_least`.

    For a threshold k up to half the budget: what is longer than budget - k shares a pack with nothing as long as k;
    what is longer than half shares with nothing of its kind; the rest fits at best into what these leave free.
    """
    ordered = np.sort(tokens)[::-1].astype(np.int64)
    total = np.concatenate([[0], np.cumsum(ordered)])
    thresholds = np.unique(np.concatenate([[0], ordered[ordered * 2 <= budget]]))
    alone = np.searchsorted(-ordered, thresholds - budget, side="left")  # how many are longer than budget - threshold
    half = int(np.searchsorted(-ordered, -(budget // 2), side="left"))
    small = np.searchsorted(-ordered, -thresholds, side="right")  # how many are at least as long as the threshold
    free = (half - alone) * budget - (total[half] - total[alone])
    rest = total[np.maximum(small, half)] - total[half]
    bounds = half + np.maximum(0, -(-(rest - free) // budget))
    return max(at_least(tokens, budget), int(bounds.max()))
