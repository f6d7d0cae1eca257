"""The worst answers of a benchmark, with their images scaled down into the page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from random import Random

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.questions.question import Question
from vlm.reports.answer_rows import AnswerRow
from vlm.vision.images import read_image

SHOWN = 24  # cases of a benchmark
_SIDE = 256  # pixels of the longer side
_MOST_IMAGES = 4  # of one case


@dataclass(frozen=True, slots=True)
class WorstCase:
    """An answer, the data URLs of its images, and messages on those that cannot be shown."""

    row: AnswerRow
    images: tuple[str, ...]
    missing: tuple[str, ...]


def worst_cases(questions: Sequence[Question], rows: Sequence[AnswerRow], count: int = SHOWN) -> list[WorstCase]:
    """The answers of the lowest scores that are not full; of equal scores a seeded random choice."""
    order = list(range(len(rows)))
    Random(0).shuffle(order)
    most = max((row.score for row in rows), default=0.0)
    wrong = [number for number in order if 0 <= rows[number].score < max(1.0, most)]
    chosen = sorted(wrong, key=lambda number: rows[number].score)[:count]
    return [_case(questions[number], rows[number]) for number in chosen]


def _case(question: Question, row: AnswerRow) -> WorstCase:
    urls, missing = [], []
    for image in question.images[:_MOST_IMAGES]:
        try:
            urls.append(thumbnail(image))
        except ImageError as error:
            missing.append(str(error))
    return WorstCase(row, tuple(urls), tuple(missing))


def thumbnail(ref: ImageRef) -> str:
    """The image as a data URL of a JPEG of at most 256 pixels a side. Raises ImageError if it cannot be read."""
    image = read_image(ref)
    image.thumbnail((_SIDE, _SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
