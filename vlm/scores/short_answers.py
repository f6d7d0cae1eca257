"""Scores of short answers: ten human answers (VQA), exact, within 5 % (ChartQA), by edit distance (DocVQA)."""

import re
from collections.abc import Sequence
from math import isfinite

from vlm.scores.vqa_text import normalised

_AGREEING = 3  # humans that have to agree with an answer for a full score
_ANLS_THRESHOLD = 0.5
_RELAXED = 0.05


def vqa_score(answer: str, answers: Sequence[str]) -> float:
    """Mean over the humans of min(1, matches among the others / 3), after the official normalisation.

    With a single human answer, whether it is that one. Source: https://visualqa.org/evaluation.html
    """
    given = normalised(answer)
    count = len(answers)
    matches = sum(normalised(one) == given for one in answers)
    if count < 2:
        return float(matches)
    agreed = matches * min(1.0, (matches - 1) / _AGREEING) + (count - matches) * min(1.0, matches / _AGREEING)
    return agreed / count


def exact_score(answer: str, answers: Sequence[str]) -> float:
    """1 if the answer is one of the texts, white space aside; else 0."""
    given = " ".join(answer.split())
    return float(any(given == " ".join(one.split()) for one in answers))


def gqa_score(answer: str, answers: Sequence[str]) -> float:
    """Exact match in lower case, without a full stop at the end: GQA's answers are lower-case words."""
    return exact_score(_plain(answer), [_plain(one) for one in answers])


def _plain(text: str) -> str:
    return text.strip().lower().removesuffix(".").rstrip()


def relaxed_score(answer: str, answers: Sequence[str]) -> float:
    """ChartQA: a number within 5 % of the true one, or an equal text in lower case; `5%` is read as 0.05.

    A true value of 0 is compared as text. Source: Methani et al., PlotQA (2020); Masry et al., ChartQA (2022).
    """
    return float(any(_relaxed_equal(answer.strip(), one.strip()) for one in answers))


def _relaxed_equal(answer: str, truth: str) -> bool:
    given, wanted = plain_number(answer), plain_number(truth)
    if given is not None and wanted:
        return abs(given - wanted) <= _RELAXED * abs(wanted)
    return answer.lower() == truth.lower()


_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?%?")


def plain_number(text: str) -> float | None:
    """The number that the text is, a percentage divided by 100; None for any other text."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found[0].rstrip("%")) / (100 if found[0].endswith("%") else 1)
    return value if isfinite(value) else None


def anls_score(answer: str, answers: Sequence[str]) -> float:
    """DocVQA: the best 1 - edit distance / longer length over the true texts; 0 where that is not above 0.5.

    In lower case, white space joined. Source: Biten et al., Scene Text Visual Question Answering (ICCV 2019).
    """
    given = " ".join(answer.lower().split())
    return max((_similarity(given, " ".join(one.lower().split())) for one in answers), default=0.0)


def _similarity(one: str, other: str) -> float:
    longer = max(len(one), len(other))
    if not longer:
        return 1.0
    if abs(len(one) - len(other)) >= _ANLS_THRESHOLD * longer:
        return 0.0
    share = edit_distance(one, other) / longer
    return 1 - share if share < _ANLS_THRESHOLD else 0.0


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance, a column of the table in the bits of one number.

    Source: Hyyrö, Explaining and Extending the Bit-parallel Approximate String Matching Algorithm of Myers (2001).
    """
    if not one:
        return len(other)
    ones, top = (1 << len(one)) - 1, 1 << (len(one) - 1)
    places: dict[str, int] = {}
    for index, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << index
    up, down, distance = ones, 0, len(one)  # bits: the value below is one larger, or one smaller
    for letter in other:
        match = places.get(letter, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right, left = down | (ones & ~(diagonal | up)), up & diagonal
        distance += bool(right & top) - bool(left & top)
        right, left = (right << 1 | 1) & ones, (left << 1) & ones
        up, down = left | (ones & ~(diagonal | right)), right & diagonal
    return distance
