"""What a program says of each question beside what `eyegraft eval` says of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.evaluators.files import MMBENCH, POPE
from tests.evaluators.programs import Answers, Said

FORMS = {"mmlu": "mmlu", POPE: "pope", MMBENCH: "letters"}
"""Name of a file -> the form as which `eyegraft eval` reads it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Questions of a file, and on how many both have the same score and the same text, or letter.

    `theirs` and `ours`: mean scores; `distinct`: how many different answers ours are.
    """

    file: str
    questions: int
    same_score: int
    same_text: int
    theirs: float
    ours: float
    distinct: int

    @property
    def complete(self) -> bool:
        """Whether both agree on every question."""
        return self.same_score == self.same_text == self.questions


def compare(theirs: Answers, folder: Path) -> list[Agreement]:
    """A program's answers beside those of the evaluation in `folder`.

    Raises AssertionError where a program answered another number of questions.
    """
    found = []
    for file, said in theirs.items():
        rows = own_answers(folder, file)
        assert len(said) == len(rows), f"{file}: {len(said)} answers, not {len(rows)}"
        found.append(_agreement(file, said, rows))
    return found


def own_answers(folder: Path, file: str) -> list[dict[str, Any]]:
    """The answers that `eyegraft eval` wrote about a file, in its order."""
    text = (folder / f"answers-{FORMS[file]}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _agreement(file: str, said: Sequence[Said], rows: Sequence[dict[str, Any]]) -> Agreement:
    pairs = [*zip(said, rows, strict=True)]
    return Agreement(
        file=file,
        questions=len(pairs),
        same_score=sum(one.score == row["score"] for one, row in pairs),
        same_text=sum(one.text.strip() == row["answer"].strip() for one, row in pairs),
        theirs=round(sum(one.score for one in said) / len(pairs), 4),
        ours=round(sum(row["score"] for row in rows) / len(pairs), 4),
        distinct=len({row["answer"] for row in rows}),
    )


def as_json(found: Sequence[Agreement]) -> list[dict[str, Any]]:
    """For the file of results."""
    return [asdict(one) for one in found]
