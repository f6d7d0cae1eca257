"""Metrics as sums over questions, by hand; intervals against a slow bootstrap and the theory of means."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest

from vlm.scores.bootstrap import Interval, compare, interval
from vlm.scores.captions import bleu_of, bleu_statistics
from vlm.scores.metric import Metric, all_right_metric, by_category, macro_metric, mean_metric, numbered
from vlm.scores.verdict import verdict
from vlm.scores.yes_no import mme_metrics, pope_metrics


def test_circular_counts_groups_that_are_all_right() -> None:
    index = [1, 1_000_001, 2_000_001, 2, 1_000_002, 3]
    groups = numbered([one % 1_000_000 for one in index])
    scores = [1, 1, 1, 1, 0, 1]
    circular = all_right_metric("circular", scores, groups)
    assert circular.value == pytest.approx(2 / 3)
    assert mean_metric("vanilla", scores, groups).value == pytest.approx(5 / 6)
    categories = ["x", "x", "x", "y", "y", "y"]
    assert {one.name: one.value for one in by_category(circular, categories)} == {"circular/x": 1.0, "circular/y": 0.5}


def test_pope_by_hand() -> None:
    said = ["yes", "yes", "no", "no", None, "yes"]
    truth = ["yes", "no", "no", "yes", "yes", "yes"]
    found = {one.name: one.value for one in pope_metrics(said, truth, numbered(range(6)))}
    # right: 1, 3 and 6; yes said three times, two of them right; four are yes
    assert found == pytest.approx(
        {"accuracy": 3 / 6, "precision": 2 / 3, "recall": 2 / 4, "f1": 2 * 2 / (3 + 4), "yes_share": 3 / 6}
    )


def test_pope_without_a_yes_divides_by_nothing() -> None:
    found = {one.name: one.value for one in pope_metrics(["no", "no"], ["no", "no"], numbered([0, 1]))}
    assert found == {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_share": 0.0}


def test_mme_by_hand() -> None:
    scores = [1, 1, 1, 0, 1, 1]
    categories = ["count", "count", "count", "count", "code_reasoning", "code_reasoning"]
    found = {one.name: one.value for one in mme_metrics(scores, categories, numbered([0, 0, 1, 1, 2, 2]))}
    assert found == pytest.approx(
        {
            "acc": 5 / 6,
            "acc_plus": 2 / 3,
            "acc/count": 3 / 4,
            "acc/code_reasoning": 1.0,
            "acc_plus/count": 1 / 2,
            "acc_plus/code_reasoning": 1.0,
            "perception": 125.0,
            "cognition": 200.0,
        }
    )


def test_a_macro_average_weighs_categories_equally() -> None:
    metric = mean_metric("accuracy", [1, 1, 1, 0], numbered(range(4)))
    assert macro_metric(metric, ["x", "x", "x", "y"]).value == 0.5


def slow_interval(metric: Metric, resamples: int = 1000) -> tuple[float, float]:
    """Questions drawn group by group, the metric of each draw, and its percentiles."""
    random = np.random.default_rng(99)
    names = np.unique(metric.groups)
    members = [np.flatnonzero(metric.groups == name) for name in names]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([members[drawn] for drawn in random.integers(0, len(names), len(names))])
        values.append(float(metric.formula(metric.statistics[rows].sum(0))))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _bleu_metric() -> Metric:
    random = np.random.default_rng(5)
    pairs = []
    for _ in range(60):
        reference = [str(word) for word in random.integers(0, 30, 12)]
        answer = [word if random.random() < 0.8 else "x" for word in reference]
        pairs.append(bleu_statistics(answer, [reference]))
    return Metric("bleu_4", np.array(pairs), bleu_of, numbered(range(60)))


def _grouped_metric() -> Metric:
    random = np.random.default_rng(6)
    groups = np.repeat(np.arange(80), 4)
    scores = np.repeat(random.random(80) < 0.6, 4) * 1.0
    return mean_metric("accuracy", scores, groups)


def _f1_metric() -> Metric:
    random = np.random.default_rng(7)
    truth = ["yes" if one else "no" for one in random.random(200) < 0.5]
    said = [one if random.random() < 0.7 else "yes" for one in truth]
    return next(one for one in pope_metrics(said, truth, numbered(range(200))) if one.name == "f1")


@pytest.mark.parametrize("make", [_bleu_metric, _grouped_metric, _f1_metric])
def test_an_interval_is_that_of_the_slow_bootstrap(make: Callable[[], Metric]) -> None:
    metric = make()
    found = interval(metric, resamples=4000)
    low, high = slow_interval(metric)
    width = high - low
    assert found is not None and found.low < metric.value < found.high
    assert abs(found.low - low) < 0.15 * width and abs(found.high - high) < 0.15 * width


def test_groups_widen_an_interval() -> None:
    """Four questions that are always right together tell as much as one."""
    grouped = _grouped_metric()
    alone = mean_metric("accuracy", grouped.statistics[:, 0], numbered(range(320)))
    wide, narrow = interval(grouped), interval(alone)
    assert wide is not None and narrow is not None
    assert 1.7 < (wide.high - wide.low) / (narrow.high - narrow.low) < 2.3


def test_nothing_is_drawn_of_one_group_and_bounds_have_a_width() -> None:
    assert interval(mean_metric("accuracy", [1, 0], numbered([0, 0]))) is None
    assert interval(mean_metric("accuracy", [1, 0, 1, 0], numbered([0, 0, 1, 1]))) is None
    sure = interval(mean_metric("accuracy", [1] * 10, numbered(range(10))))
    assert sure == Interval(pytest.approx(0.025 ** (1 / 10)), 1.0)
    none = interval(mean_metric("accuracy", [0] * 10, numbered(range(10))))
    assert none == Interval(0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_the_same_answers_give_the_same_bounds() -> None:
    assert interval(_f1_metric()) == interval(_f1_metric()) != interval(_f1_metric(), seed=1)


def test_a_category_is_resampled_by_its_own_groups() -> None:
    metric = mean_metric("accuracy", [1] * 5 + [0, 1], numbered(range(7)))
    five, two = by_category(metric, ["x"] * 5 + ["y"] * 2)
    assert interval(five) == Interval(pytest.approx(0.025 ** (1 / 5)), 1.0)
    assert two.questions == 2


def test_a_paired_comparison_sees_what_two_intervals_do_not() -> None:
    random = np.random.default_rng(3)
    first = (random.random(400) < 0.5).astype(float)
    second = np.maximum(first, random.random(400) < 0.08)  # the same answers, and some more right
    groups = numbered(range(400))
    one, other = mean_metric("accuracy", first, groups), mean_metric("accuracy", second, groups)
    mine, yours = interval(one), interval(other)
    assert mine is not None and yours is not None and mine.high > yours.low  # they overlap
    found = compare(one, other)
    assert found.is_clear and found.difference == pytest.approx(float((second - first).mean()))
    assert verdict(found, "old", "new").startswith("new is better than old in accuracy by ")
    assert verdict(compare(other, one), "new", "old").startswith("new is better than old in accuracy by ")
    assert "优于" in verdict(found, "old", "new", "zh")


def test_a_comparison_of_equals_is_not_clear() -> None:
    random = np.random.default_rng(4)
    groups = numbered(range(300))
    one, other = (mean_metric("accuracy", random.random(300) < 0.5, groups) for _ in range(2))
    found = compare(one, other)
    assert not found.is_clear and verdict(found, "a", "b").startswith("No difference in accuracy between a and b")
    assert not compare(one, one).is_clear
    alone = compare(mean_metric("x", [1], numbered([0])), mean_metric("x", [0], numbered([0])))
    assert alone.interval is None and "Nothing can be said" in verdict(alone, "a", "b")


def test_a_few_questions_prove_nothing() -> None:
    """All of five favour one model: of two equal ones chance does so in one case of 16, on one side or the other."""
    for count, clear in ((5, False), (6, True)):
        groups = numbered(range(count))
        found = compare(mean_metric("x", [0] * count, groups), mean_metric("x", [1] * count, groups))
        assert (found.interval is not None, found.is_clear) == (clear, clear)


def test_intervals_cover_the_truth() -> None:
    """Of 200 samples with a true share of 0.7, about 95 % have it in their interval."""
    random = np.random.default_rng(8)
    covered = 0
    for seed in range(200):
        found = interval(mean_metric("accuracy", random.random(150) < 0.7, numbered(range(150))), 300, seed)
        assert found is not None
        covered += found.low <= 0.7 <= found.high
    assert 178 <= covered <= 199


def test_both_bounds_are_those_of_a_mean_of_many() -> None:
    metric = mean_metric("accuracy", [1.0] * 300 + [0.0] * 700, numbered(range(1000)))
    found = interval(metric, resamples=8000)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert found is not None
    assert [0.3 - found.low, found.high - 0.3] == pytest.approx([half, half], rel=0.06)


def test_ten_thousand_questions_take_a_moment() -> None:
    random = np.random.default_rng(9)
    metric = mean_metric("accuracy", random.random(10_000) < 0.7, numbered(range(10_000)))
    start = perf_counter()
    found = interval(metric)
    assert perf_counter() - start < 5  # 0.3 s on one core
    assert found is not None and found.high - found.low == pytest.approx(2 * 1.96 * 0.7**0.5 * 0.3**0.5 / 100, rel=0.1)
