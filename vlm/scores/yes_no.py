"""Metrics of yes/no questions: POPE's, and MME's by category."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlm.scores.metric import Array, Metric, all_right_metric, by_category, mean_metric, of_groups, ratio

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "ocr")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
"""MME's categories, in lower case."""


def pope_metrics(said: Sequence[str | None], truths: Sequence[str], groups: NDArray[np.int64]) -> list[Metric]:
    """Accuracy, F1, precision, recall and the share of yes; `yes` is the positive class.

    An answer that could not be read is wrong, and neither yes nor no.
    """
    given, true = np.array(said, object), np.array(truths, object)
    yes, wanted = (given == "yes").astype(float), (true == "yes").astype(float)
    table = np.stack([yes * wanted, yes, wanted, np.ones(len(true))], 1)
    return [
        mean_metric("accuracy", (given == true).astype(float), groups),
        Metric("f1", table, _f1, groups),
        Metric("precision", table, _precision, groups),
        Metric("recall", table, _recall, groups),
        mean_metric("yes_share", yes, groups),
    ]


def _f1(sums: Array) -> Array:
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def _precision(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 1])


def _recall(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 2])


def mme_metrics(scores: Sequence[float], categories: Sequence[str], groups: NDArray[np.int64]) -> list[Metric]:
    """acc over questions and acc+ over images (`groups`), of all and by category, and MME's points.

    The points of a category are 100 (acc + acc+); `perception` and `cognition` add those of their categories.
    """
    of_questions = mean_metric("acc", scores, groups)
    of_images = all_right_metric("acc_plus", scores, groups)
    metrics = [of_questions, of_images, *by_category(of_questions, categories), *by_category(of_images, categories)]
    for name, members in (("perception", PERCEPTION), ("cognition", COGNITION)):
        here = [one for one in dict.fromkeys(categories) if one.strip().lower() in members]
        if here:
            metrics.append(_points(name, here, scores, categories, groups))
    return metrics


def _points(
    name: str, here: Sequence[str], scores: Sequence[float], categories: Sequence[str], groups: NDArray[np.int64]
) -> Metric:
    both = np.concatenate([mean_metric("", scores, groups).statistics, of_groups(scores, groups)], 1)
    of = np.array(categories, object)
    table = np.stack([np.where((of == one)[:, None], both, 0.0) for one in here], 1)
    return Metric(name, table.reshape(len(of), -1), _sum_of_points, groups)


def _sum_of_points(sums: Array) -> Array:
    """Columns of each category: right, questions, images all right, images."""
    four = sums.reshape(*sums.shape[:-1], -1, 4)
    points = 100 * (ratio(four[..., 0], four[..., 1]) + ratio(four[..., 2], four[..., 3]))
    return np.asarray(points.sum(-1), np.float64)
