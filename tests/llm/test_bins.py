"""Packs against the slow reference, the laws and the bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.bins import Budget, at_least, at_least_l2, balance, best_fit, one_by_one

RANDOM = np.random.default_rng(0)
SETS = {
    "uniform": (RANDOM.integers(1, 100, 2000), 512),
    "up to the budget": (RANDOM.integers(1, 1000, 3000), 1000),
    "chat, log-normal": (np.clip(RANDOM.lognormal(5.3, 0.7, 20000), 8, 2048).astype(np.int64), 2048),
    "one image and a question": (RANDOM.choice([63, 68, 71], 1000), 2048),
    "captions and long answers": (np.r_[RANDOM.integers(10, 60, 2000), RANDOM.integers(700, 1500, 500)], 2048),
    "mostly over half": (RANDOM.integers(400, 1000, 5000), 1000),
}


def reference(tokens: np.ndarray, images: np.ndarray, budget: Budget) -> list[np.ndarray]:
    return one_by_one(tokens, images, np.argsort(-tokens, kind="stable"), budget)


def test_best_fit_by_hand() -> None:
    packs = best_fit(np.array([6, 5, 4, 3, 2]), np.zeros(5, int), Budget(10, 1))
    assert [sorted(pack.tolist()) for pack in packs] == [[0, 2], [1, 3, 4]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 90))
def test_never_more_packs_than_the_reference_nor_fewer_than_the_bound(lengths: list[int], budget: int) -> None:
    tokens, none = np.array(lengths), np.zeros(len(lengths), int)
    packs, slow = best_fit(tokens, none, Budget(budget, 1)), reference(tokens, none, Budget(budget, 1))
    assert sorted(np.concatenate(packs)) == list(range(len(tokens)))
    assert all(tokens[pack].sum() <= budget for pack in packs)
    assert at_least(tokens, budget) <= at_least_l2(tokens, budget) <= len(packs) <= len(slow)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=40))
def test_pictures_are_a_budget_too(things: list[tuple[int, int]]) -> None:
    tokens, images = np.array([one[0] for one in things]), np.array([one[1] for one in things])
    packs = best_fit(tokens, images, Budget(90, 3))
    assert sorted(np.concatenate(packs)) == list(range(len(things)))
    assert all(tokens[pack].sum() <= 90 and images[pack].sum() <= 3 for pack in packs)


@pytest.mark.parametrize("name", SETS)
def test_sets_as_people_have_them_come_within_two_percent_of_the_bound(name: str) -> None:
    tokens, budget = SETS[name]
    none = np.zeros(len(tokens), int)
    packs = best_fit(tokens, none, Budget(budget, 1))
    assert at_least_l2(tokens, budget) / len(packs) >= 0.98
    assert len(packs) <= len(reference(tokens, none, Budget(budget, 1)))


def test_the_bound_knows_that_what_is_longer_than_half_stays_alone() -> None:
    tokens = np.array([6] * 10 + [5] * 2)
    assert at_least(tokens, 10) == 7
    assert at_least_l2(tokens, 10) == 11


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=30), st.integers(1, 8))
def test_balance_holds_the_budgets_and_everything_once(things: list[tuple[int, int]], count: int) -> None:
    tokens, images = [one[0] for one in things], [one[1] for one in things]
    packs = balance(tokens, images, Budget(60, 4), count)
    if packs is None:
        return
    assert len(packs) == count and sorted(one for pack in packs for one in pack) == list(range(len(things)))
    assert all(sum(tokens[i] for i in pack) <= 60 and sum(images[i] for i in pack) <= 4 for pack in packs)


def test_balance_is_even() -> None:
    packs = balance([7, 5, 4, 3, 3, 2], [0] * 6, Budget(100, 1), 2)
    assert packs is not None and sorted(sum([7, 5, 4, 3, 3, 2][i] for i in pack) for pack in packs) == [12, 12]
