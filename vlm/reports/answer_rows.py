"""Answers as JSON lines, one a question: what was asked, about which image, what was said, read and scored."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.rows.files import raw_rows
from vlm.questions.forms import Judgement
from vlm.questions.question import Question

_UNSCORED = -1.0  # of a question whose answer is hidden


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One line. `images` are paths, or the place of the row that holds the image itself; `score` is -1 if hidden."""

    id: str
    form: str
    category: str
    prompt: str
    images: tuple[str, ...]
    answer: str
    parsed: str | None
    wanted: tuple[str, ...]
    score: float
    refused: bool


def answer_rows(
    questions: Sequence[Question], prompts: Sequence[str], answers: Sequence[str], judged: Judgement
) -> list[AnswerRow]:
    """The lines of the questions of one form, in their order."""
    scores = judged.scores or (_UNSCORED,) * len(questions)
    return [
        AnswerRow(
            question.id, question.form, question.category, prompt, image_names(question), answer, parsed,
            wanted_of(question), round(score, 6), refused,
        )
        for question, prompt, answer, parsed, score, refused in zip(
            questions, prompts, answers, judged.parsed, scores, judged.refusals, strict=True
        )
    ]  # fmt: skip


def image_names(question: Question) -> tuple[str, ...]:
    """Paths of the images; of those without a path, the place of their row."""
    return tuple(image.path or str(question.place) for image in question.images)


def wanted_of(question: Question) -> tuple[str, ...]:
    """The true answers as a person reads them: a letter with its text, a box as its numbers in pixels."""
    if question.box is not None:
        return (", ".join(f"{number:g}" for number in question.box),)
    if question.options:
        return tuple(f"{letter}. {question.options[letter]}" for letter in question.answers)
    return tuple(dict.fromkeys(question.answers))


def as_line(row: AnswerRow) -> str:
    """The row as one line of JSON, with its line break."""
    return json.dumps(asdict(row), ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def as_lines(rows: Iterable[AnswerRow]) -> str:
    """The rows as JSON lines."""
    return "".join(as_line(row) for row in rows)


def read_answer_rows(path: Path) -> list[AnswerRow]:
    """The rows of such a file. A last line that was cut off, as an interrupted run leaves it, is left out.

    Raises RecordError for any other line that is not an answer, DataError without the file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Correct the path")
    if not path.stat().st_size:
        return []
    raws = list(raw_rows(path))
    if raws and raws[-1].error is not None:
        raws.pop()
    found = []
    for raw in raws:
        if raw.error is not None:
            raise raw.error
        found.append(_row(raw.place, raw.value))
    return found


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str, "form": str, "category": str, "prompt": str, "images": list, "answer": str,
    "parsed": (str, type(None)), "wanted": list, "score": (int, float), "refused": bool,
}  # fmt: skip


def _row(place: Place, value: object) -> AnswerRow:
    if not isinstance(value, dict):
        raise RecordError(place, "record", "is not an answer", _ADVICE, "row-type")
    for name, kind in _FIELDS.items():
        if not isinstance(value.get(name), kind) or name not in value:
            raise RecordError(place, name, "is missing or of another type", _ADVICE, "field-missing")
    return AnswerRow(
        value["id"], value["form"], value["category"], value["prompt"], tuple(map(str, value["images"])),
        value["answer"], value["parsed"], tuple(map(str, value["wanted"])), float(value["score"]), value["refused"],
    )  # fmt: skip


_ADVICE = "Name a file of answers that an evaluation wrote, or evaluate again"
