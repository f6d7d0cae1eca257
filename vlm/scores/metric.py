"""A metric as sums over questions: its value, and the parts of it that a bootstrap resamples.

Accuracy, F1, corpus BLEU and macro averages are all functions of sums over questions. A metric is therefore a table of
statistics, one row a question, and a formula over their column sums; resampled questions give resampled sums, and the
formula of these is the resampled metric, exactly.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Formula = Callable[[Array], Array]
"""Sums [..., columns] -> values [...]."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """`statistics` [questions, columns], and the `formula` of their sums. `groups` [questions] are resampled together.

    `is_fraction`: the formula is the mean of values from 0 to 1, of which a bootstrap of equal values has no width.
    """

    name: str
    statistics: Array
    formula: Formula
    groups: NDArray[np.int64]
    is_fraction: bool = False

    @property
    def value(self) -> float:
        """The metric of all questions; 0 where its denominator is 0."""
        return float(self.formula(self.statistics.sum(0)))

    @property
    def questions(self) -> int:
        """How many questions have a part in it."""
        return int(self.statistics.any(1).sum())


def numbered(groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """Group names as numbers from 0, in order of appearance; int64 [questions]."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], np.int64)


def ratio(over: Array, under: Array) -> Array:
    """over / under, and 0 where `under` is 0."""
    quotient = np.divide(over, under, out=np.zeros(np.shape(over)), where=np.asarray(under) != 0)
    return np.asarray(quotient, np.float64)


def mean_of(sums: Array) -> Array:
    """The formula of a mean: columns value, count."""
    return ratio(sums[..., 0], sums[..., 1])


def mean_metric(name: str, scores: Sequence[float] | Array, groups: NDArray[np.int64]) -> Metric:
    """The mean score; scores are from 0 to 1."""
    values = np.asarray(scores, float)
    return Metric(name, np.stack([values, np.ones(len(values))], 1), mean_of, groups, is_fraction=True)


def of_groups(values: Sequence[float] | Array, groups: NDArray[np.int64]) -> Array:
    """Statistics [questions, 2] of one value for each group, all of whose questions must have score 1: value, count.

    A group's statistics are on its first question, zeros on the others.
    """
    right = np.asarray(values, float) >= 1
    count = int(groups.max(initial=-1)) + 1
    wrong = np.bincount(groups, ~right, minlength=count) > 0
    found = np.zeros((len(groups), 2))
    _, first = np.unique(groups, return_index=True)
    found[first, 0] = ~wrong[groups[first]]
    found[first, 1] = 1
    return found


def all_right_metric(name: str, scores: Sequence[float] | Array, groups: NDArray[np.int64]) -> Metric:
    """The share of groups whose questions are all right: circular accuracy, and MME's acc+."""
    return Metric(name, of_groups(scores, groups), mean_of, groups, is_fraction=True)


def by_category(metric: Metric, categories: Sequence[str]) -> list[Metric]:
    """The metric of each category, `NAME/CATEGORY`, in order of appearance; none where there is one category only."""
    names = [name for name in dict.fromkeys(categories) if name]
    if len(names) < 2:
        return []
    of = np.array(categories, object)
    return [
        Metric(
            f"{metric.name}/{name}",
            np.where((of == name)[:, None], metric.statistics, 0.0),
            metric.formula,
            metric.groups,
            metric.is_fraction,
        )
        for name in names
    ]


def macro_metric(metric: Metric, categories: Sequence[str]) -> Metric:
    """The mean of the categories' means, each of the same weight; `NAME_by_category`. The metric has to be a mean."""
    places = numbered(categories)
    count = int(places.max(initial=-1)) + 1
    table = np.zeros((len(places), count, 2))
    table[np.arange(len(places)), places] = metric.statistics
    return Metric(f"{metric.name}_by_category", table.reshape(len(places), -1), _macro, metric.groups)


def _macro(sums: Array) -> Array:
    """Mean over the categories of a resample; one that no question was drawn of is left out."""
    pairs = sums.reshape(*sums.shape[:-1], -1, 2)
    drawn = (pairs[..., 1] > 0).sum(-1)
    return ratio(ratio(pairs[..., 0], pairs[..., 1]).sum(-1), drawn.astype(float))
