"""The check of a data file for the page: counts, the first findings per code with records, the cleaned file."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

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
from llm.rows.compressed import is_compressed
from llm.rows.files import data_files
from llm.rows.raw_row import RawRow

FINDINGS_SHOWN = 10  # per code
IMAGES_SHOWN = 8  # per record
UNSAFE = re.compile(r"[^\w.-]+")  # letters of any script may be in a name
LONGEST_STEM = 50  # characters: a name has 255 bytes at most, and a character up to four
UPDATE_SECONDS = 0.5  # between two results of a running check


@dataclass(frozen=True, slots=True)
class FindingCard:
    """A finding, a preview of its record, and those of the record's images that can be found."""

    finding: Finding
    record: str
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What has been found in a source so far, or, once `done`, in all of it.

    `name`: the visitor's own name of a file that is stored under another one.
    """

    source: Source
    report: CheckReport
    cards: tuple[FindingCard, ...]
    done: bool = False
    name: str = ""

    def of(self, code: str) -> tuple[FindingCard, ...]:
        """The first findings of a code."""
        return tuple(card for card in self.cards if card.finding.code == code)


def run_check(source: Source, name: str = "") -> Iterator[CheckResult]:
    """Check a source: a result every UPDATE_SECONDS, and the final one. Closing the iterator ends the check.

    `name` is the visitor's own name of the file.

    Raises ConfigError and DataError for a source that cannot be read.
    """
    format = guess_format(source, [row.value for row in islice(source_rows(source, Path()), SEEN)])
    state, counter = CheckState(), FindingCounter(FINDINGS_SHOWN)
    cards, counts = list[FindingCard](), Counter[str]()
    updated = time.monotonic()
    for row in check_rows(source, Path(), CheckRules(), state):
        counter.add(row.row, row.findings)
        for finding in row.findings:
            counts[finding.code] += 1
            if counts[finding.code] <= FINDINGS_SHOWN:
                cards.append(FindingCard(finding, preview_record(row.raw), _images(source, row.raw, format)))
        if time.monotonic() - updated > UPDATE_SECONDS:
            updated = time.monotonic()
            yield CheckResult(source, counter.report(state.images, videos=state.videos), tuple(cards), name=name)
    yield CheckResult(source, counter.report(state.images, videos=state.videos), tuple(cards), True, name)


def _images(source: Source, raw: RawRow, format: str) -> tuple[ImageRef, ...]:
    """The images of a record, even if it is otherwise invalid; none from outside the source's image folder."""
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
    return tuple(small for image in found[:IMAGES_SHOWN] if (small := _small(image)))


def _small(image: ImageRef) -> ImageRef | None:
    """An image that takes little memory: one stored in its record becomes a thumbnail, None if it cannot be opened."""
    if not image.data:
        return image
    data = thumbnail(image)
    return ImageRef(data=data) if data else None


def clean(checked: CheckResult, folder: Path, progress: ProgressCallback | None = None) -> FixResult:
    """Write the usable records of a checked source into `folder`, which is empty, and the others into a second file.

    Raises ConfigError and DataError if the files cannot be written.
    """
    source = checked.source
    out = folder / clean_name(Path(source.path), source.split, checked.name)
    return fix(source, Path(), out, CheckRules(), progress)


def clean_name(path: Path, split: str = "train", name: str = "") -> str:
    """The name of the cleaned file of a file or folder: `train.clean.json` for `train.json`.

    Of the visitor's `name` only what every disk takes is used.
    """
    stem = path.resolve().name if path.is_dir() else path.stem
    if name:
        shown = PurePosixPath(name)
        shown = shown.with_suffix("") if is_compressed(Path(name)) else shown
        stem = UNSAFE.sub("-", shown.stem).strip("-.")[:LONGEST_STEM] or stem
    return f"{stem}.clean{output_suffix(data_files(path, split))}"


def images_folder(source: Source) -> str:
    """The folder that the image paths of a source are relative to, as an absolute path."""
    path = Path(source.path).expanduser()
    return os.path.abspath(source.images or (path if path.is_dir() else path.parent))
