"""Which questions of which benchmark files are asked; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlm.questions.question import Question, QuestionSet
from vlm.questions.question_files import OnBadRow, read_questions


@dataclass(frozen=True, slots=True)
class BenchmarkFiles:
    """Arguments of `read_questions`, and at most `limit` questions of each form; 0: all."""

    files: tuple[Path, ...]
    form: str = "auto"
    images: str = ""
    split: str = ""
    limit: int = 0
    on_bad_row: OnBadRow = "stop"

    @property
    def name(self) -> str:
        """The names of the files without suffixes, for the folder of their report."""
        return "-".join(dict.fromkeys(path.stem for path in self.files))

    def read(self) -> tuple[QuestionSet, ...]:
        """The questions. Raises as `read_questions`."""
        sets = read_questions(self.files, self.form, self.images, self.split, on_bad_row=self.on_bad_row)
        return tuple(limited(one, self.limit) for one in sets)


def limited(asked: QuestionSet, limit: int) -> QuestionSet:
    """The set with at most `limit` questions, from groups that lie evenly over the file; 0: all of them.

    The circular passes of a question, and the questions of an image, stay together.
    """
    if not limit or len(asked.questions) <= limit:
        return asked
    groups: dict[str, list[Question]] = {}
    for question in asked.questions:
        groups.setdefault(question.group, []).append(question)
    chosen: list[Question] = []
    for group in spread([*groups.values()]):
        if len(chosen) + len(group) <= limit:
            chosen += group
    order = {id(question): number for number, question in enumerate(asked.questions)}
    kept = sorted(chosen or next(iter(groups.values())), key=lambda question: order[id(question)])
    note = f"{len(kept):,} of {len(asked.questions):,} questions are asked"
    return replace(asked, questions=tuple(kept), notes=(*asked.notes, note))


def spread(items: Sequence[list[Question]]) -> list[list[Question]]:
    """All items in an order of which every beginning lies evenly over the list: by the reversed bits of their places.

    Van der Corput's sequence.
    """
    bits = max(1, (len(items) - 1).bit_length())
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[place] for place in places if place < len(items)]
