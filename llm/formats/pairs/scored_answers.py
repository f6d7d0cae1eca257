"""Several answers with scores in one row, as UltraFeedback has them: the best and the worst are a pair."""

from dataclasses import dataclass, replace

from llm.records.record import Record, Row

_LISTS = (("responses", "scores"), ("responses", "ratings"), ("completions", "scores"), ("answers", "scores"))
_TEXTS = ("response", "text", "content", "completion")
_SCORES = ("overall_score", "score", "rating", "reward")


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One answer and what it was given."""

    text: str
    score: float


def fits_scored(row: Row) -> bool:
    """Whether the row has a list of answers with scores."""
    return bool(_fields(row))


def as_pair(record: Record) -> Record:
    """A row of scored answers as one with `chosen`, the best, and `rejected`, the worst; any other row as it is.

    Of equal scores the first counts as the best and the last as the worst. Raises RecordError with fewer than two
    answers that have a score.
    """
    names = _fields(record.row)
    if not names or "chosen" in record.row:
        return record
    record.repeats(*names)
    answers = scored_answers(record.row)
    if len(answers) < 2:
        found = f"{len(answers)} answers with a text and a number as the score"
        raise record.error(names[0], found, "A pair needs two: add them, or remove the record", "pair-scores")
    best = max(answers, key=lambda answer: answer.score)
    worst = min(reversed(answers), key=lambda answer: answer.score)
    return replace(record, row={**record.row, "chosen": best.text, "rejected": worst.text})


def scored_answers(row: Row) -> list[ScoredAnswer]:
    """The answers of a row that have a text and a score, in their order."""
    names = _fields(row)
    if not names:
        return []
    answers = row[names[0]]
    assert isinstance(answers, list)
    if len(names) == 1:
        found = [(_first(answer, _TEXTS), _first(answer, _SCORES)) for answer in answers if isinstance(answer, dict)]
    else:
        scores = row[names[1]]
        assert isinstance(scores, list)
        found = list(zip(answers, scores, strict=False))
    pairs = ((text, _number(score)) for text, score in found)
    return [ScoredAnswer(text, score) for text, score in pairs if isinstance(text, str) and score is not None]


def _fields(row: Row) -> tuple[str, ...]:
    """The fields with the answers and, where they are in a list of their own, the scores; empty without such."""
    for answers, scores in _LISTS:
        texts, numbers = row.get(answers), row.get(scores)
        if isinstance(texts, list) and isinstance(numbers, list) and texts and isinstance(texts[0], str):
            return answers, scores
    for answers in ("completions", "responses", "answers"):
        listed = row.get(answers)
        first = listed[0] if isinstance(listed, list) and listed else None
        if isinstance(first, dict) and _first(first, _TEXTS) is not None and any(name in first for name in _SCORES):
            return (answers,)
    return ()


def _first(answer: dict[str, object], names: tuple[str, ...]) -> object:
    return next((answer[name] for name in names if name in answer), None)


def _number(value: object) -> float | None:
    """A score as a number, also written as text; None for anything else, such as N/A."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
