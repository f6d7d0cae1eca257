"""Bin packing: items of known size into few or balanced packs of a budget, and lower bounds on their number.

An item has a number of tokens and of images: one sample, or several that share a prefix.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
CLOSE = 0.99  # share of the lower bound from which on no better packing is searched


@dataclass(frozen=True, slots=True)
class PackBudget:
    """The most tokens and images that one pack may hold."""

    tokens: int
    images: int


def balance(tokens: list[int], images: list[int], budget: PackBudget, count: int) -> list[list[int]] | None:
    """Indices of the items in each of `count` packs of about equal length; None if that does not fit or one is empty.

    Longest-processing-time assignment (Graham 1969), longest first into the shortest pack: the longest pack is at most
    4/3 of the best possible one.
    """
    packs: list[list[int]] = [[] for _ in range(count)]
    held = [0] * count
    lightest = [(0, pack) for pack in range(count)]
    for index in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        full = []  # of images
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
    """Indices of the items in each pack: best-fit decreasing, longest first into the fullest pack with room.

    Where no pack can reach its image budget, items of equal length are placed at once, with the same result; and where
    that needs more packs than the lower bound, as with few different lengths, exactly filled packs are tried too.
    """
    longest_first = np.argsort(-tokens, kind="stable")
    if (images * budget.tokens > tokens * budget.images).any():
        return one_by_one(tokens, images, longest_first, budget)
    packs = _by_length(tokens, longest_first, budget.tokens)
    if at_least_l2(tokens, budget.tokens) >= CLOSE * len(packs):
        return packs
    return min(packs, _filled(tokens, longest_first, budget.tokens), key=len)


def _by_length(tokens: Indices, longest_first: Indices, budget: int) -> list[Indices]:
    """Best-fit decreasing by tokens alone, one length after the other; `room[c]` are the packs with c tokens left."""
    pack_of = np.empty(len(tokens), np.int64)  # by position in `longest_first`
    room: list[list[int]] = [[] for _ in range(budget + 1)]
    some = 0  # bit c: room[c] is not empty
    packs = 0
    lengths, first = np.unique(-tokens[longest_first], return_index=True)
    ends = [*first[1:].tolist(), len(tokens)]
    for length, start, end in zip((-lengths).tolist(), first.tolist(), ends, strict=True):
        while start < end:
            fitting = some >> length
            left = length + (fitting & -fitting).bit_length() - 1 if fitting else budget
            each = left // length  # the fullest pack with room remains the fullest until it has none
            wanted = -(-(end - start) // each)
            if fitting:
                used, room[left] = room[left][:wanted], room[left][wanted:]
                some &= ~(0 if room[left] else 1 << left)
            else:
                used = [*range(packs, packs + wanted)]
                packs += wanted
            placed = min(end - start, each * len(used))
            pack_of[start : start + placed] = np.repeat(used, each)[:placed]
            over = each * len(used) - placed  # items that the last pack still has room for
            for ends_with, members in ((left - each * length, used[:-1]), (left - (each - over) * length, used[-1:])):
                room[ends_with] += members
                some |= (1 << ends_with) if members else 0
            start += placed
    by_pack = np.argsort(pack_of, kind="stable")
    return np.split(longest_first[by_pack], np.cumsum(np.bincount(pack_of, minlength=packs))[:-1])


def _filled(tokens: Indices, longest_first: Indices, budget: int) -> list[Indices]:
    """Each pack takes the longest item left, then the items that fill it best: minimum bin slack (Gupta, Ho 1999)."""
    lengths, first, counts = np.unique(-tokens[longest_first], return_index=True, return_counts=True)
    left = dict(zip((-lengths).tolist(), counts.tolist(), strict=True))  # longest first
    at = dict(zip((-lengths).tolist(), first.tolist(), strict=True))
    packs: list[Indices] = []
    while left:
        chosen = _fullest(left, budget)
        for _ in range(min(left[length] // count for length, count in chosen.items())):  # equal packs
            packs.append(np.concatenate([longest_first[at[size] : at[size] + count] for size, count in chosen.items()]))
            for size, count in chosen.items():
                at[size] += count
                left[size] -= count
        left = {size: count for size, count in left.items() if count}
    return packs


def _fullest(left: dict[int, int], budget: int) -> dict[int, int]:
    """Counts by length, out of `left`, that come closest to `budget`; at least one of the first length.

    A subset sum on one integer: bit s of `sums` is set where s is a sum; counts are split into powers of two.
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
    """Best-fit decreasing by tokens and images, item by item."""
    packs: list[list[int]] = []
    held: list[int] = []
    open_packs: list[tuple[int, int]] = []  # (tokens left, pack), sorted: the first that fits is the fullest
    for sample in longest_first.tolist():
        length, image_count = int(tokens[sample]), int(images[sample])
        at = bisect_left(open_packs, (length, -1))
        while at < len(open_packs) and held[open_packs[at][1]] + image_count > budget.images:
            at += 1
        if at == len(open_packs):
            left, pack = budget.tokens, len(packs)
            packs.append([])
            held.append(0)
        else:
            left, pack = open_packs.pop(at)
        packs[pack].append(sample)
        held[pack] += image_count
        insort(open_packs, (left - length, pack))
    return [np.asarray(pack, np.int64) for pack in packs]


def at_least(tokens: Indices, budget: int) -> int:
    """A lower bound on the number of packs: ceil(total / budget)."""
    return -(-int(tokens.sum()) // budget)


def at_least_l2(tokens: Indices, budget: int) -> int:
    """Martello and Toth's lower bound L2 (1990, section 8.3), never below `at_least`.

    For a threshold k up to half the budget: items longer than budget - k share no pack with items of k or more; items
    longer than half share none with each other; the rest fits at best into the space that these leave.
    """
    ordered = np.sort(tokens)[::-1].astype(np.int64)
    total = np.concatenate([[0], np.cumsum(ordered)])
    thresholds = np.unique(np.concatenate([[0], ordered[ordered * 2 <= budget]]))
    alone = np.searchsorted(-ordered, thresholds - budget, side="left")  # items longer than budget - threshold
    half = int(np.searchsorted(-ordered, -(budget // 2), side="left"))
    small = np.searchsorted(-ordered, -thresholds, side="right")  # items of the threshold or more
    free = (half - alone) * budget - (total[half] - total[alone])
    rest = total[np.maximum(small, half)] - total[half]
    bounds = half + np.maximum(0, -(-(rest - free) // budget))
    return max(at_least(tokens, budget), int(bounds.max()))
