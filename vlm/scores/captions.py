"""CIDEr-D, BLEU-4 and ROUGE-L of captions with several references, on words; the values of pycocoevalcap.

Sources: Vedantam et al., CIDEr (CVPR 2015); Papineni et al., BLEU (ACL 2002); Lin, ROUGE (2004). Constants, the choice
of the reference length and the counts of CIDEr's length penalty are those of COCO's evaluation code.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from vlm.scores.metric import Array, Metric, mean_of

Words = Sequence[str]
_Gram = tuple[str, ...]
_LONGEST = 4  # words of an n-gram
_SIGMA = 6.0  # of CIDEr-D's length penalty
_BETA = 1.2  # weight of recall in ROUGE-L
_SMALL, _TINY = 1e-9, 1e-15  # COCO's, in place of divisions by zero


def _grams(words: Words) -> Counter[_Gram]:
    found: Counter[_Gram] = Counter()
    for length in range(1, _LONGEST + 1):
        found.update(zip(*(words[start:] for start in range(length)), strict=False))
    return found


def bleu_statistics(answer: Words, references: Sequence[Words]) -> list[float]:
    """Matching n-grams of 1 to 4 words, n-grams, length of the answer, and the closest reference's."""
    return _bleu_row(answer, references, _grams(answer), [_grams(reference) for reference in references])


def _bleu_row(
    answer: Words, references: Sequence[Words], given: Counter[_Gram], wanted: Sequence[Counter[_Gram]]
) -> list[float]:
    matching = [0.0] * _LONGEST
    for gram, count in given.items():
        matching[len(gram) - 1] += min(count, max([one.get(gram, 0) for one in wanted]))
    total = [float(max(0, len(answer) - length)) for length in range(_LONGEST)]
    _, closest = min((abs(len(reference) - len(answer)), len(reference)) for reference in references)
    return [*matching, *total, float(len(answer)), float(closest)]


def bleu_of(sums: Array) -> Array:
    """Corpus BLEU-4 of sums [..., 10] of `bleu_statistics`."""
    matching, total = sums[..., :_LONGEST], sums[..., _LONGEST : 2 * _LONGEST]
    precision = np.log((matching + _TINY) / (total + _SMALL)).mean(-1)
    length = (sums[..., -2] + _TINY) / (sums[..., -1] + _SMALL)
    return np.asarray(np.exp(precision + np.minimum(0.0, 1 - 1 / length)), np.float64)


def rouge_l(answer: Words, references: Sequence[Words], beta: float = _BETA) -> float:
    """ROUGE-L with the best precision and the best recall of all references, as COCO's; 0 for an empty answer."""
    pairs = [(longest_common(answer, reference), reference) for reference in references]
    precision = max((common / len(answer) for common, _ in pairs if answer), default=0.0)
    recall = max((common / len(reference) for common, reference in pairs if reference), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def longest_common(one: Words, other: Words) -> int:
    """Length of the longest common subsequence, a row of the table in the bits of one number.

    Source: Hyyrö, Bit-parallel LCS-length Computation Revisited (2004).
    """
    places: dict[str, int] = {}
    for index, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << index
    ones = (1 << len(one)) - 1
    row = ones
    for word in other:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & ones
    return len(one) - row.bit_count()


def cider_scores(answers: Sequence[Words], references: Sequence[Sequence[Words]]) -> NDArray[np.float64]:
    """CIDEr-D of each answer, from 0 to 10 [answers]; n-grams are weighted by how few images' references have them.

    The weights belong to the references, not to the answers: a bootstrap keeps them and resamples these scores.
    """
    cooked = [[_grams(reference) for reference in of_image] for of_image in references]
    return _cider([_grams(answer) for answer in answers], cooked)


def _cider(answers: Sequence[Counter[_Gram]], cooked: Sequence[Sequence[Counter[_Gram]]]) -> NDArray[np.float64]:
    images: Counter[_Gram] = Counter()
    for of_image in cooked:
        images.update(set().union(*of_image))
    everything = log(max(1, len(cooked)))
    weights = {gram: everything - log(count) for gram, count in images.items()}
    scores = []
    for answer, of_image in zip(answers, cooked, strict=True):
        given = _vector(answer, weights, everything)
        scores.append(10 * sum(_agreement(given, _vector(one, weights, everything)) for one in of_image))
    counts = np.array([max(1, len(of_image)) for of_image in cooked], float)
    return np.asarray(np.array(scores, float) / counts, np.float64)


_Vector = tuple[dict[_Gram, float], list[float], int]
"""Weighted counts, their length for each n, and how many pairs of words there are."""


def _vector(grams: Counter[_Gram], weights: dict[_Gram, float], unseen: float) -> _Vector:
    weighted = {gram: count * weights.get(gram, unseen) for gram, count in grams.items()}
    squares = [0.0] * _LONGEST
    for gram, value in weighted.items():
        squares[len(gram) - 1] += value * value
    return weighted, [sqrt(square) for square in squares], sum(count for gram, count in grams.items() if len(gram) == 2)


def _agreement(answer: _Vector, reference: _Vector) -> float:
    """The mean over n of clipped cosines, with the penalty of another length."""
    products = [0.0] * _LONGEST
    wanted = reference[0]
    for gram, value in answer[0].items():
        if gram in wanted:
            products[len(gram) - 1] += min(value, wanted[gram]) * wanted[gram]
    cosines = [
        product / (one * other) if one and other else product
        for product, one, other in zip(products, answer[1], reference[1], strict=True)
    ]
    return sum(cosines) / _LONGEST * exp(-((answer[2] - reference[2]) ** 2) / (2 * _SIGMA**2))


def caption_metrics(
    answers: Sequence[Words], references: Sequence[Sequence[Words]], groups: NDArray[np.int64]
) -> list[Metric]:
    """CIDEr-D, BLEU-4 (of the corpus) and ROUGE-L."""
    given = [_grams(answer) for answer in answers]
    cooked = [[_grams(reference) for reference in of_image] for of_image in references]
    table = [_bleu_row(*row) for row in zip(answers, references, given, cooked, strict=True)]
    rouge = [rouge_l(*pair) for pair in zip(answers, references, strict=True)]
    return [
        _mean("cider", _cider(given, cooked), groups),
        Metric("bleu_4", np.array(table), bleu_of, groups),
        _mean("rouge_l", rouge, groups),
    ]


def _mean(name: str, scores: Iterable[float], groups: NDArray[np.int64]) -> Metric:
    values = np.array(list(scores), float)
    return Metric(name, np.stack([values, np.ones(len(values))], 1), mean_of, groups)
