"""Packs against a slow best-fit, against all possible packings, and against the bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.data import bin_packing
from llm.data.bin_packing import PackBudget, at_least, at_least_l2, balance, best_fit, one_by_one

RANDOM = np.random.default_rng(0)
SETS = {
    "uniform": (RANDOM.integers(1, 100, 2000), 512),
    "up to the budget": (RANDOM.integers(1, 1000, 3000), 1000),
    "chat, log-normal": (np.clip(RANDOM.lognormal(5.3, 0.7, 20000), 8, 2048).astype(np.int64), 2048),
    "one image and a question": (RANDOM.choice([63, 68, 71], 1000), 2048),
    "captions and long answers": (np.r_[RANDOM.integers(10, 60, 2000), RANDOM.integers(700, 1500, 500)], 2048),
    "mostly over half": (RANDOM.integers(400, 1000, 5000), 1000),
}


def slow_best_fit(tokens: list[int], images: list[int], budget: PackBudget) -> list[list[int]]:
    """Longest first into the fullest pack with room for its tokens and images."""
    packs: list[list[int]] = []
    for index in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        room = [
            pack
            for pack in packs
            if sum(tokens[i] for i in pack) + tokens[index] <= budget.tokens
            and sum(images[i] for i in pack) + images[index] <= budget.images
        ]
        if room:
            max(room, key=lambda pack: sum(tokens[i] for i in pack)).append(index)
        else:
            packs.append([index])
    return packs


def fewest(tokens: list[int], budget: int, packs: tuple[int, ...] = ()) -> int:
    """Packs of the best packing, by trying every pack for every item."""
    if not tokens:
        return len(packs)
    tried = {(*packs, tokens[0])}
    tried |= {
        (*packs[:at], load + tokens[0], *packs[at + 1 :]) for at, load in enumerate(packs) if load + tokens[0] <= budget
    }
    return min(fewest(tokens[1:], budget, one) for one in tried)


def slow_l2(tokens: np.ndarray, budget: int) -> int:
    """The bound by its definition, threshold by threshold."""
    best = -(-int(tokens.sum()) // budget)
    for least in {0, *tokens[tokens * 2 <= budget].tolist()}:
        alone, long = tokens > budget - least, tokens * 2 > budget
        free = int((budget - tokens[long & ~alone]).sum())
        rest = int(tokens[~long & (tokens >= least)].sum())
        best = max(best, int(long.sum()) + max(0, -(-(rest - free) // budget)))
    return best


def slow_balance(tokens: list[int], images: list[int], budget: PackBudget, count: int) -> list[list[int]] | None:
    """Longest first into the shortest pack with room for its images."""
    packs: list[list[int]] = [[] for _ in range(count)]
    for index in sorted(range(len(tokens)), key=lambda index: -tokens[index]):
        room = [pack for pack in packs if sum(images[i] for i in pack) + images[index] <= budget.images]
        lightest = min(room, key=lambda pack: sum(tokens[i] for i in pack), default=None)
        if lightest is None or sum(tokens[i] for i in lightest) + tokens[index] > budget.tokens:
            return None
        lightest.append(index)
    return packs if all(packs) else None


def test_best_fit_by_hand() -> None:
    packs = best_fit(np.array([6, 5, 4, 3, 2]), np.zeros(5, int), PackBudget(10, 1))
    assert [sorted(pack.tolist()) for pack in packs] == [[0, 2], [1, 3, 4]]


def test_images_are_counted_by_hand() -> None:
    """3 would fill the first pack, but has an image, as the pack has; 2 has none."""
    tokens, images = np.array([7, 6, 3, 2]), np.array([1, 0, 1, 0])
    packs = best_fit(tokens, images, PackBudget(10, 1))
    assert [sorted(pack.tolist()) for pack in packs] == [[0, 3], [1, 2]]


def test_packs_are_filled_exactly_where_best_fit_leaves_space() -> None:
    """Best-fit puts 4 beside 7 and needs three packs; 7 + 3 + 2 and 6 + 4 + 2 are two."""
    tokens = np.array([7, 6, 4, 3, 2, 2])
    assert len(slow_best_fit(tokens.tolist(), [0] * 6, PackBudget(12, 1))) == 3
    packs = best_fit(tokens, np.zeros(6, int), PackBudget(12, 1))
    assert sorted(sorted(tokens[pack].tolist()) for pack in packs) == [[2, 3, 7], [2, 4, 6]]


def test_the_fullest_pack_by_hand() -> None:
    assert bin_packing._fullest({6: 1, 5: 2, 4: 1, 3: 3}, 10) == {6: 1, 4: 1}
    assert bin_packing._fullest({4: 3}, 12) == {4: 3} and bin_packing._fullest({4: 3}, 11) == {4: 2}
    assert bin_packing._fullest({7: 1, 2: 2}, 10) == {7: 1, 2: 1} and bin_packing._fullest({7: 2}, 10) == {7: 1}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 90))
def test_packs_are_between_the_lower_bound_and_the_reference(lengths: list[int], budget: int) -> None:
    tokens, none = np.array(lengths), np.zeros(len(lengths), int)
    packs, slow = (
        best_fit(tokens, none, PackBudget(budget, 1)),
        slow_best_fit(lengths, [0] * len(lengths), PackBudget(budget, 1)),
    )
    assert sorted(np.concatenate(packs)) == list(range(len(tokens)))
    assert all(tokens[pack].sum() <= budget for pack in packs)
    assert slow_l2(tokens, budget) <= len(packs) <= len(slow)
    assert at_least_l2(tokens, budget) == slow_l2(tokens, budget)
    by_length = bin_packing._by_length(tokens, np.argsort(-tokens, kind="stable"), budget)
    assert sorted(tokens[pack].sum() for pack in by_length) == sorted(sum(lengths[i] for i in pack) for pack in slow)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_the_best_packing_is_between_the_bounds_and_ours(lengths: list[int]) -> None:
    tokens = np.array(lengths)
    best = fewest(lengths, 12)
    assert at_least(tokens, 12) == math.ceil(sum(lengths) / 12) <= at_least_l2(tokens, 12) <= best
    assert best <= len(best_fit(tokens, np.zeros(len(tokens), int), PackBudget(12, 1)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=40))
def test_the_image_budget_holds(items: list[tuple[int, int]]) -> None:
    tokens, images = np.array([one[0] for one in items]), np.array([one[1] for one in items])
    packs = best_fit(tokens, images, PackBudget(90, 3))
    assert sorted(np.concatenate(packs)) == list(range(len(items)))
    assert all(tokens[pack].sum() <= 90 and images[pack].sum() <= 3 for pack in packs)
    slow = slow_best_fit(tokens.tolist(), images.tolist(), PackBudget(90, 3))
    assert len(packs) <= len(slow)
    alone = one_by_one(tokens, images, np.argsort(-tokens, kind="stable"), PackBudget(90, 3))
    assert sorted(tokens[pack].sum() for pack in alone) == sorted(sum(tokens[i] for i in pack) for pack in slow)


@pytest.mark.parametrize("name", SETS)
def test_realistic_lengths_come_within_two_percent_of_the_bound(name: str) -> None:
    tokens, budget = SETS[name]
    none = np.zeros(len(tokens), int)
    packs = best_fit(tokens, none, PackBudget(budget, 1))
    assert sorted(np.concatenate(packs)) == list(range(len(tokens)))
    assert max(int(tokens[pack].sum()) for pack in packs) <= budget
    assert slow_l2(tokens, budget) / len(packs) >= 0.98


def test_items_over_half_the_budget_count_one_pack_each_in_the_bound() -> None:
    tokens = np.array([6] * 10 + [5] * 2)
    assert at_least(tokens, 10) == 7
    assert at_least_l2(tokens, 10) == 11


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 8))
def test_balanced_packs_hold_the_budget_and_every_item_once(items: list[tuple[int, int]], count: int) -> None:
    tokens, images = [one[0] for one in items], [one[1] for one in items]
    packs = balance(tokens, images, PackBudget(60, 4), count)
    assert packs == slow_balance(tokens, images, PackBudget(60, 4), count)
    if packs is None:
        return
    assert len(packs) == count and sorted(one for pack in packs for one in pack) == list(range(len(items)))
    assert all(sum(tokens[i] for i in pack) <= 60 and sum(images[i] for i in pack) <= 4 for pack in packs)


def test_balance_is_even() -> None:
    packs = balance([7, 5, 4, 3, 3, 2], [0] * 6, PackBudget(100, 1), 2)
    assert packs is not None and sorted(sum([7, 5, 4, 3, 3, 2][i] for i in pack) for pack in packs) == [12, 12]


def test_balance_by_hand() -> None:
    assert balance([3, 5, 4], [0] * 3, PackBudget(7, 1), 2) == [[1], [2, 0]], "5; 4 and 3"
    assert balance([3, 5, 4], [0] * 3, PackBudget(6, 1), 2) is None, "7 exceeds the budget"
    assert balance([3, 5], [0] * 2, PackBudget(9, 1), 3) is None, "a pack would be empty"
    assert balance([5, 4, 3], [0, 1, 1], PackBudget(9, 1), 2) == [[0, 2], [1]], "the shortest has its image already"
    assert balance([5, 4, 3], [1, 1, 1], PackBudget(9, 1), 2) is None, "both have one"
