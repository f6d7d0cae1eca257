"""95 % intervals by the bootstrap over groups of questions, and the paired bootstrap between two models.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals; Koehn, Statistical
Significance Tests for Machine Translation Evaluation (EMNLP 2004), for pairs. Seeded: equal answers give equal bounds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm.scores.metric import Array, Metric

RESAMPLES = 1000
LEVEL = 0.95
FEWEST = 6  # groups of a comparison: of fewer, even if all favour one model, chance does so in one case of 20 or more
_CHUNK = 100  # resamples drawn at once: [100, groups] counts are held


@dataclass(frozen=True, slots=True)
class Interval:
    """The bounds of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric of two models on the same questions; `difference` is second minus first, with its interval.

    `interval` is None where the questions are of fewer than FEWEST groups: nothing can be said.
    """

    name: str
    first: float
    second: float
    interval: Interval | None
    groups: int

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


def interval(metric: Metric, resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """The 95 % interval of a metric; None where resamples do not differ, as those of a single group.

    Where all groups score 0, or all score 1, the interval is the exact binomial one of that many groups.
    """
    [table] = _by_group([metric])
    if len(table) < 2:
        return None
    if metric.is_fraction and metric.value in (0.0, 1.0):
        return _one_sided(metric.value, len(table))
    values = metric.formula(_resampled_sums(table, resamples, seed))
    return None if np.ptp(values) == 0 else _percentiles(values)


def compare(first: Metric, second: Metric, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """The paired bootstrap: each resample draws the same groups of questions for both models.

    Both metrics have to be of the same questions in the same order.
    """
    assert first.name == second.name and np.array_equal(first.groups, second.groups), "metrics of different questions"
    one, other = _by_group([first, second])
    bounds = None
    if len(one) >= FEWEST:
        sums = _resampled_sums(np.concatenate([one, other], 1), resamples, seed)
        columns = one.shape[1]
        bounds = _percentiles(second.formula(sums[:, columns:]) - first.formula(sums[:, :columns]))
    return Comparison(first.name, first.value, second.value, bounds, len(one))


def _by_group(metrics: list[Metric]) -> list[Array]:
    """Statistics summed over each group, [groups, columns], without groups that have no part in any of the metrics."""
    groups = metrics[0].groups
    count = int(groups.max(initial=-1)) + 1
    tables = []
    for metric in metrics:
        table = np.zeros((count, metric.statistics.shape[1]))
        for at, column in enumerate(metric.statistics.T):
            table[:, at] = np.bincount(groups, column, minlength=count)
        tables.append(table)
    taking_part = np.any([table.any(1) for table in tables], 0)
    return [table[taking_part] for table in tables]


def _resampled_sums(table: Array, resamples: int, seed: int) -> Array:
    """[resamples, columns]: sums over as many groups as there are, drawn with replacement."""
    generator = np.random.default_rng(seed)
    count = len(table)
    found = []
    for start in range(0, resamples, _CHUNK):
        drawn = generator.integers(0, count, (min(_CHUNK, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(float)
        found.append(times @ table)
    return np.concatenate(found)


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))


def _one_sided(value: float, count: int) -> Interval:
    """Clopper and Pearson's interval for none or all of `count`: the bound b with (1 - b) ** count = 0.025."""
    missing = 1 - ((1 - LEVEL) / 2) ** (1 / count)
    return Interval(1 - missing, 1.0) if value else Interval(0.0, missing)
