"""What a check of a data file found, with the records and pictures it is about, held for the page."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data_tools.check.check import ProgressCallback, check_rows
from data_tools.check.findings import Finding
from data_tools.check.fix import FixResult, fix
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.rules import CheckRules, CheckState
from data_tools.rows.row_output import output_suffix
from demo.pages.parts.record_preview import preview_record, thumbnail
from llm.config.schema import Source
from llm.errors import RecordError
from llm.formats.conversation import ImageRef
from llm.formats.image_placeholders import record_images
from llm.formats.readers import READERS, SEEN, guess_format, record_of, source_rows
from llm.formats.row_files import RawRow, data_files

KEPT = 10  # findings of a code that are shown
PICTURES = 8  # of a record that are shown
EVERY = 0.5  # seconds between two looks at a check under way


@dataclass(frozen=True, slots=True)
class FindingCard:
    """A finding and the record it is about: its text, and those of its pictures that can be found."""

    finding: Finding
    record: str
    pictures: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found in a source so far, and, once `done`, altogether."""

    source: Source
    report: CheckReport
    cards: tuple[FindingCard, ...]
    done: bool = False

    def of(self, code: str) -> tuple[FindingCard, ...]:
        """The first findings of a code."""
        return tuple(card for card in self.cards if card.finding.code == code)


def run_check(source: Source) -> Iterator[CheckResult]:
    """Check a source: what was found so far every half second, at last everything. Closing it ends the check.

    Raises ConfigError and DataError for a source that cannot be read.
    """
    format = guess_format(source, [row.value for row in islice(source_rows(source, Path()), SEEN)])
    state, counter = CheckState(), FindingCounter(KEPT)
    cards, counts = list[FindingCard](), Counter[str]()
    told = time.monotonic()
    for row in check_rows(source, Path(), CheckRules(), state):
        counter.add(row.row, row.findings)
        for finding in row.findings:
            counts[finding.code] += 1
            if counts[finding.code] <= KEPT:
                cards.append(FindingCard(finding, preview_record(row.raw), _pictures(source, row.raw, format)))
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            yield CheckResult(source, counter.report(state.images), tuple(cards))
    yield CheckResult(source, counter.report(state.images), tuple(cards), done=True)


def _pictures(source: Source, raw: RawRow, format: str) -> tuple[ImageRef, ...]:
    """The pictures of a row, also of one that is otherwise wrong; none from outside the source's image folder."""
    if not isinstance(raw.value, dict):
        return ()
    record = record_of(source, Path(), raw.place, raw.value, format)
    try:
        messages = READERS[format].read(record) if format else ()
        found = [part for message in messages for part in message.parts if isinstance(part, ImageRef)]
    except RecordError:
        found = []
    if not found:
        try:
            found = record_images(record)
        except RecordError:
            return ()
    return tuple(kept for image in found[:PICTURES] if (kept := _kept(image)))


def _kept(image: ImageRef) -> ImageRef | None:
    """A picture that takes little memory: one inside its row is made small, or left out where it cannot be opened."""
    if not image.data:
        return image
    data = thumbnail(image)
    return ImageRef(data=data) if data else None


def clean(checked: CheckResult, folder: Path, progress: ProgressCallback | None = None) -> FixResult:
    """Write the sound rows of what was checked into `folder`, which is empty, and the others beside them.

    Raises ConfigError and DataError where that cannot be done.
    """
    source = checked.source
    out = folder / clean_name(Path(source.path))
    return fix(source, Path(), out, CheckRules(), progress)


def clean_name(path: Path) -> str:
    """How the cleaned file of a file or folder is called: `train.json` becomes `train.clean.json`."""
    stem = path.resolve().name if path.is_dir() else path.stem
    return f"{stem}.clean{output_suffix(data_files(path))}"


def images_folder(source: Source) -> str:
    """Where the image paths of a source begin, for a recipe that reads its cleaned file from elsewhere."""
    path = Path(source.path).expanduser()
    return os.path.abspath(source.images or (path if path.is_dir() else path.parent))
