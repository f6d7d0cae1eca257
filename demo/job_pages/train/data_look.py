"""A look at uploaded data for the Train page: `python -m demo.job_pages.train.data_look FOLDER`.

A program of its own, as the gate of jobs is: a file of a stranger may take all memory or never end. It stops after
LONGEST_S seconds with what it has seen; the gate looks again before the job waits.
"""

import base64
import json
import re
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from data_tools.inspect.counters import RecordCounter
from demo.pages.parts.check_session import CheckResult, FindingCard, run_check
from demo.pages.parts.record_preview import thumbnail
from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, TEXT, read_text
from llm.formats.readers import NO_RECORD
from llm.formats.readers import read as read_records
from vlm.service.archives import ArchiveError, unpack

QUESTION, ANSWER = "question.json", "answer.json"
LONGEST_S = 60.0
DESCRIBED = 20_000  # records whose turns and languages are counted
KANA_OR_HANGUL = re.compile("[\u3041-\u30fa\u30fc-\u30ff\uac00-\ud7a3]")
CARDS, IMAGES = 3, 3  # of a code, of a record: the page embeds them


@dataclass(frozen=True, slots=True)
class LookQuestion:
    """The file to look at, and the archive of its images; absolute paths, the archive's empty where there is none."""

    file: str
    archive: str


@dataclass(frozen=True, slots=True)
class LookAnswer:
    """What was seen so far, or in all of it once `done`; `cut` where it stopped before the end.

    `cards` are findings as JSON with a preview of the record and thumbnails in base64. `answers`: of the assistant in
    all records; `cjk`: the share of records most of whose letters are Chinese, Japanese or Korean.
    `han`: these have no letter of Japanese's own scripts or Korean, so they are Chinese.
    `place`: of an error: `images` for one of the archive, `empty` for a file without a record, else empty.
    """

    state: str = "running"
    rows: int = 0
    images: int = 0
    bad_rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    cards: list[dict[str, Any]] = field(default_factory=list)
    answers: int = 0
    cjk: float = 0.0
    han: bool = False
    cut: bool = False
    error: str = ""
    place: str = ""
    done: bool = False


def main(folder: Path) -> None:
    """Answer the question of a folder."""
    question = LookQuestion(**json.loads(read_text(folder / QUESTION, SETTINGS)))
    images = folder / "images"
    try:
        if question.archive:
            write(folder, LookAnswer("unpacking"))
            unpack(Path(question.archive), images)
        _look(folder, Source(path=question.file, images=str(images) if question.archive else ""))
    except ArchiveError as error:
        write(folder, LookAnswer(error=str(error), place="images", done=True))
    except EyegraftError as error:
        place = "empty" if str(error).endswith(NO_RECORD) else ""
        write(folder, LookAnswer(error=str(error), place=place, done=True))
    finally:
        shutil.rmtree(images, ignore_errors=True)


def _look(folder: Path, source: Source) -> None:
    ends = time.monotonic() + LONGEST_S
    answer = LookAnswer()
    for found in run_check(source):
        answer = _answer(found, time.monotonic() > ends)
        if answer.done and not answer.bad_rows:
            answer = _described(answer, source, ends)
        write(folder, answer)
        if answer.done:
            return


def _answer(found: CheckResult, late: bool) -> LookAnswer:
    report, done = found.report, found.done or late
    shown = [card for code in report.counts for card in found.of(code)[:CARDS]] if done else []
    return LookAnswer(
        rows=report.rows,
        images=report.images,
        bad_rows=report.bad_rows,
        counts=dict(report.counts),
        cards=[_card(card) for card in shown],
        cut=done and not found.done,
        done=done,
    )


def _described(answer: LookAnswer, source: Source, ends: float) -> LookAnswer:
    """The answer with what its records are, of which all can be read; nothing more where the time is over."""
    counter, han = RecordCounter(), True
    for conversation in islice(read_records(source, Path(), _ignore), DESCRIBED):
        counter.add(conversation)
        han = han and not any(KANA_OR_HANGUL.search(message.text) for message in conversation.messages)
        if time.monotonic() > ends:
            break
    seen = max(1, len(counter))
    answers = sum(number * count for number, count in counter.turns.items())
    return replace(answer, answers=round(answers * answer.rows / seen), cjk=counter.mostly_cjk / seen, han=han)


def _ignore(_: str) -> None:
    """Warnings of the reader: the check has them as findings."""


def _card(card: FindingCard) -> dict[str, Any]:
    images = [base64.b64encode(data).decode() for image in card.images[:IMAGES] if (data := thumbnail(image))]
    return {"finding": card.finding.as_json(), "record": card.record, "images": images}


def write(folder: Path, answer: LookAnswer) -> None:
    """Write the answer so far."""
    write_atomically(folder / ANSWER, json.dumps(asdict(answer)))


def read(folder: Path) -> LookAnswer | None:
    """The answer so far; None before the first, and where it is damaged."""
    with suppress(OSError, ValueError, TypeError):
        return LookAnswer(**json.loads(read_text(folder / ANSWER, TEXT)))
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
