"""Plans: every sample once, no budget exceeded, equally many packs on every rank."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.data.bin_packing import PackBudget
from llm.data.packing import PackItem, epoch_order, of_rank, plan_packs
from llm.errors import ConfigError
from llm.train.process_memory import peak_memory_gib

Plan = list[list[list[int]]]


def _plan(tokens: list[int], images: list[int] | None = None, order: list[int] | None = None, **more: Any) -> Plan:
    """Steps of packs of samples; a pack holds 100 tokens and two images."""
    image_counts = np.array(images or [0] * len(tokens))
    chosen = np.arange(len(tokens)) if order is None else np.array(order)
    plan = plan_packs(np.array(tokens), image_counts, PackBudget(100, 2), order=chosen, **more)
    return [[pack.tolist() for pack in step] for step in plan.steps]


def test_flatten_by_hand() -> None:
    """The next three samples of the order make a step: 10 + 30 + 50 fit one pack, 60 + 40 + 20 need two."""
    tokens, order = [60, 50, 40, 30, 20, 10], [5, 3, 1, 0, 2, 4]
    assert _plan(tokens, order=order, batch=3) == [[[5, 3, 1]], [[0], [2, 4]]]
    assert _plan(tokens, order=order, batch=3, world=2) == [[[1], [3, 5]], [[0], [2, 4]]], "a pack for each of two"
    assert _plan([60, 60, 60], batch=3) == [[[0], [1], [2]]], "two packs hold 180, but no two samples fit together"
    assert _plan([10, 10, 10], [1, 1, 1], batch=3) == [[[0, 2], [1]]], "images fill packs as well"
    assert _plan([10, 10, 10], batch=2) == [[[0, 1]], [[2]]], "the last step may have fewer"


def test_fill_by_hand() -> None:
    """Best-fit finds 60 + 40 and 50 + 30 + 20; the order says which comes first, the mean of 40 how many a step has."""
    tokens = [60, 50, 40, 30, 20]
    fill: dict[str, Any] = {"mode": "fill"}
    assert _plan(tokens, batch=2, **fill) == [[[0, 2]], [[1, 3, 4]]], "two samples are less than a pack"
    assert _plan(tokens, batch=5, **fill) == [[[0, 2], [1, 3, 4]]], "five samples are two packs"
    assert _plan(tokens, order=[4, 3, 2, 1, 0], batch=2, **fill) == [[[1, 3, 4]], [[0, 2]]]
    assert sorted(_plan(tokens, order=[0, 1, 2, 0], batch=2, **fill)) == [[[0]], [[0, 2]], [[1]]], "a weight of two"
    assert _plan([30, 20, 10], batch=3, world=2, **fill) == [[[0, 2], [1]]], "the one pack is split"
    assert _plan([30], batch=3, world=2, **fill) == [[[0]]], "a single sample cannot be split"


def test_items_are_packed_as_one_by_hand() -> None:
    """Samples 0 and 2 take 70 together instead of 100; with more ranks than items they are packed separately."""

    def items(chunk: np.ndarray) -> list[PackItem]:
        assert chunk.tolist() == [0, 1, 2]
        return [PackItem(np.array([0, 2]), 70, 1), PackItem(np.array([1]), 50, 0)]

    tokens = [50, 50, 50]
    assert _plan(tokens, batch=3, items=items) == [[[0, 2], [1]]]
    assert _plan(tokens, batch=3, items=items, world=3) == [[[0], [2], [1]]]
    assert _plan(tokens, batch=3, items=items, mode="fill") == [[[0, 2]], [[1]]]


def test_packs_are_dealt_to_ranks_in_turn() -> None:
    packs = [np.array([number]) for number in range(3)]
    assert [([int(pack[0]) for pack in own], idle) for own, idle in (of_rank(packs, rank, 2) for rank in (0, 1))] == [
        ([0, 2], False), ([1], True)
    ]  # fmt: skip


def _lengths(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 100, count)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(4, 120),
    batch=st.integers(2, 16),
    world=st.sampled_from([1, 2, 3]),
    mode=st.sampled_from(["flatten", "fill"]),
    seed=st.integers(0, 5),
)
def test_every_plan_is_valid(count: int, batch: int, world: int, mode: str, seed: int) -> None:
    tokens = _lengths(count, seed)
    images = np.random.default_rng(seed + 1).integers(0, 3, count)
    budget = PackBudget(256, 16)
    order = epoch_order(np.ones(count), seed, 0)
    plan = plan_packs(tokens, images, budget, batch=batch, order=order, mode=mode, world=world)
    packs = [pack for step in plan.steps for pack in step]
    assert sorted(np.concatenate(packs)) == list(range(count))
    assert all(tokens[pack].sum() <= 256 and images[pack].sum() <= 16 for pack in packs)
    if mode == "flatten":
        assert [set(np.concatenate(step)) for step in plan.steps] == [
            set(order[start : start + batch]) for start in range(0, count, batch)
        ], "how many ranks share a step changed which samples it holds"
    for step in plan.steps:
        shares = [of_rank(step, rank, world) for rank in range(world)]
        assert len({len(own) + idle for own, idle in shares}) == 1, "ranks with different numbers of rounds"
        assert sorted(np.concatenate([pack for own, _ in shares for pack in own])) == sorted(np.concatenate(step))
        if any(idle for _, idle in shares):
            assert all(len(pack) == 1 for pack in step), "a rank idles though a pack could be split"


def test_flatten_has_the_steps_of_a_padded_run() -> None:
    tokens = _lengths(20)
    order = epoch_order(np.ones(20), 3, 1)
    plan = plan_packs(tokens, np.zeros(20, int), PackBudget(100, 1), batch=8, order=order)
    steps = [set(np.concatenate(step)) for step in plan.steps]
    assert steps == [set(order[:8]), set(order[8:16]), set(order[16:])]
    assert max(len(step) for step in plan.steps) > 1, "no step was split"


def test_two_ranks_share_a_step_without_overlap() -> None:
    tokens = _lengths(16)
    plan = plan_packs(tokens, np.zeros(16, int), PackBudget(400, 1), batch=8, order=np.arange(16), world=2)
    for step in range(len(plan)):
        (mine, _), (other, _) = (of_rank(plan.steps[step], rank, 2) for rank in (0, 1))
        assert not set(np.concatenate(mine)) & set(np.concatenate(other))
        assert len(mine) == len(other)


def test_order_is_seeded_and_weights_repeat_samples() -> None:
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    seen = np.concatenate([epoch_order(weights, 0, epoch) for epoch in range(400)])
    counts = np.bincount(seen, minlength=4) / 400
    assert counts[:3].tolist() == [1.0, 2.0, 0.0]
    assert 0.4 < counts[3] < 0.6
    assert (epoch_order(weights, 0, 7) == epoch_order(weights, 0, 7)).all()


def test_a_sample_over_the_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="pack_tokens is 50, but a sample has 99"):
        plan_packs(np.array([99]), np.array([0]), PackBudget(50, 1), batch=1, order=np.arange(1))
    with pytest.raises(ConfigError, match="pack_images is 1, but a sample has 3 images"):
        plan_packs(np.array([9]), np.array([3]), PackBudget(50, 1), batch=1, order=np.arange(1))
    assert len(plan_packs(np.array([50]), np.array([1]), PackBudget(50, 1), batch=1, order=np.arange(1))) == 1


def test_ranks_without_a_sample_are_idle() -> None:
    plan = plan_packs(np.array([9, 9]), np.array([0, 0]), PackBudget(50, 1), batch=2, order=np.arange(2), world=3)
    shares = [of_rank(plan.steps[0], rank, 3) for rank in range(3)]
    assert [(len(own), idle) for own, idle in shares] == [(1, False), (1, False), (0, True)]


def _items_by_key(keys: np.ndarray, tokens: np.ndarray, budget: int) -> Callable[[np.ndarray], list[PackItem]]:
    """Samples of one key share ten tokens, in items up to the budget."""

    def items(chunk: np.ndarray) -> list[PackItem]:
        found: list[PackItem] = []
        for key in dict.fromkeys(keys[chunk].tolist()):
            rest = chunk[keys[chunk] == key]
            while len(rest):
                costs = 10 + np.cumsum(tokens[rest] - 10)
                fit = max(1, int((costs <= budget).sum()))
                found.append(PackItem(rest[:fit], int(costs[fit - 1]), 1))
                rest = rest[fit:]
        return found

    return items


def test_fill_with_items_has_every_sample_once_in_fewer_packs() -> None:
    tokens, keys = 10 + _lengths(300), np.random.default_rng(0).integers(0, 60, 300)
    order, ones, budget = epoch_order(np.ones(300), 0, 0), np.ones(300, int), PackBudget(512, 64)
    items = _items_by_key(keys, tokens, budget.tokens)
    plan = plan_packs(tokens, ones, budget, batch=20, order=order, mode="fill", items=items)
    packs = [pack for step in plan.steps for pack in step]
    assert sorted(np.concatenate(packs)) == list(range(300))
    assert all(sum(item.tokens for item in items(pack)) <= 512 for pack in packs)
    alone = plan_packs(tokens, ones, budget, batch=20, order=order, mode="fill")
    assert len(packs) < sum(map(len, alone.steps)), "shared tokens count once"


def test_a_million_samples_are_planned_in_seconds_and_under_a_gib() -> None:
    draw = np.random.default_rng(0)
    tokens = np.clip(draw.lognormal(5.3, 0.7, 1_000_000), 8, 2048).astype(np.int64)
    images = np.where(tokens > 99, draw.integers(0, 2, len(tokens)), 0)
    order = epoch_order(np.ones(len(tokens)), 0, 0)
    before, began = peak_memory_gib(), time.process_time()
    for mode in ("flatten", "fill"):
        plan_packs(tokens, images, PackBudget(4096, 64), batch=128, order=order, mode=mode)
    assert time.process_time() - began < 10, "5 s each"
    assert peak_memory_gib() - before < 1


@settings(max_examples=60, deadline=None)
@given(count=st.integers(4, 120), batch=st.integers(2, 32), world=st.sampled_from([1, 2]), seed=st.integers(0, 9))
def test_items_change_packs_and_never_steps(count: int, batch: int, world: int, seed: int) -> None:
    tokens = 10 + _lengths(count, seed)
    keys = np.random.default_rng(seed).integers(0, count // 3 + 1, count)
    order, ones, budget = epoch_order(np.ones(count), seed, 0), np.ones(count, int), PackBudget(256, 16)
    items = _items_by_key(keys, tokens, budget.tokens)
    plan = plan_packs(tokens, ones, budget, batch=batch, order=order, world=world, items=items)
    plain = plan_packs(tokens, ones, budget, batch=batch, order=order, world=world)
    assert [set(np.concatenate(step)) for step in plan.steps] == [set(np.concatenate(step)) for step in plain.steps]
    assert sorted(np.concatenate([pack for step in plan.steps for pack in step])) == list(range(count))
    assert all(sum(item.tokens for item in items(pack)) <= 256 for step in plan.steps for pack in step)
    pairs = list(zip(plan.steps, plain.steps, strict=True))
    assert all(len(mine) <= len(other) + world for mine, other in pairs), "one round more at most"


def test_an_epoch_by_image_has_each_group_in_one_run() -> None:
    groups = np.array([5, 7, 5, 0, 7, 5, 0, 9])
    seen = set()
    for seed in range(20):
        order = epoch_order(np.ones(8), seed, 0, groups)
        assert sorted(order) == list(range(8))
        runs = [
            int(group) for index, group in enumerate(groups[order]) if not index or group != groups[order][index - 1]
        ]
        assert sorted(group for group in runs if group) == [5, 7, 9]
        seen.add(tuple(order))
    assert len(seen) > 15, "the order of groups and members is random"
