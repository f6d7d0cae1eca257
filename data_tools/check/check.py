"""`eyegraft data check`: every row and every picture of a source, judged as training judges them, and a little more.

Rows are read as a stream and their pictures looked at in threads, so that memory does not grow with the file.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from data_tools.check.file_checks import check_file
from data_tools.check.findings import Finding
from data_tools.check.image_checks import ImageFindings, look
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.row_checks import ParsedRow, RowChecker
from data_tools.check.rules import CheckRules, CheckState
from data_tools.check.seen_hashes import hash64
from llm.config.schema import Source
from llm.errors import Place, RecordError
from llm.formats.conversation import ImageRef
from llm.formats.readers import NO_RECORD, SEEN, guess_format, source_rows
from llm.formats.row_files import RawRow, data_files

ROWS = 256  # rows whose pictures are looked at together
BYTES = 32 << 20  # of pictures inside rows that are held together
ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RowFindings:
    """One row and what was found. `row` counts from 1; 0 stands for a file as a whole, and what is between its rows.

    `changed`: `raw` names the files that were downloaded, where the row in the file names URLs.
    """

    row: int
    raw: RawRow
    findings: tuple[Finding, ...]
    changed: bool = False

    @property
    def bad(self) -> bool:
        """True when the row cannot be trained on."""
        return any(finding.level == "error" for finding in self.findings)


def check(source: Source, base: Path, rules: CheckRules, progress: ProgressCallback | None = None) -> CheckReport:
    """Judge every row of a source; relative paths are resolved against `base`.

    `progress` is told rows and pictures so far. Raises ConfigError and DataError for a source that cannot be read.
    """
    tally, memory = FindingCounter(rules.keep), CheckState()
    for row in check_rows(source, base, rules, memory):
        tally.add(row.row, row.findings)
        if progress:
            progress(tally.rows, memory.looked)
    tally.images = memory.looked
    return tally.report()


def check_rows(
    source: Source, base: Path, rules: CheckRules, memory: CheckState, held_out: bool = False
) -> Iterator[RowFindings]:
    """Every row of a source with its findings, in order, and before them what is wrong with its files.

    `held_out`: the source is for validation, and what stands in `memory` is trained on.
    """
    rows = source_rows(source, base)
    first = list(islice(rows, SEEN))
    judge = RowChecker(source, base, guess_format(source, [row.value for row in first]), rules, memory, held_out)
    yield from _files(source, base)
    count = 0
    with ThreadPoolExecutor() as pool:
        for readings in _chunks(judge.read(number, row) for number, row in _numbered(chain(first, rows))):
            yield from _looked_at(readings, judge, pool)
            count += sum(reading.row > 0 for reading in readings)
    memory.count += count
    if not count:
        place = Place(source.path)
        found, advice = NO_RECORD.split(". ", 1)
        yield RowFindings(0, RawRow(place), (Finding("no-rows", place, 0, "file", found, advice),))


def _files(source: Source, base: Path) -> Iterator[RowFindings]:
    local = base / Path(source.path).expanduser()
    for file in data_files(local) if local.exists() else []:
        findings = tuple(check_file(file))
        if findings:
            yield RowFindings(0, RawRow(Place(str(file))), findings)


def _numbered(rows: Iterable[RawRow]) -> Iterator[tuple[int, RawRow]]:
    """Rows counted from 1; an error between rows, which has no text, is no row."""
    number = 0
    for row in rows:
        between = row.error is not None and not row.text
        number += not between
        yield 0 if between else number, row


def _chunks(readings: Iterable[ParsedRow]) -> Iterator[list[ParsedRow]]:
    chunk: list[ParsedRow] = []
    held = 0
    for reading in readings:
        chunk.append(reading)
        held += sum(len(image.data) for image in reading.conversation.images) if reading.conversation else 0
        if len(chunk) == ROWS or held > BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _looked_at(readings: list[ParsedRow], judge: RowChecker, pool: ThreadPoolExecutor) -> Iterator[RowFindings]:
    """The readings with what was found in their pictures, and behind downloads where those are allowed."""
    fetched = _fetched(readings, judge, pool) if judge.rules.fetch else {}
    readings = [fetched.get(id(reading), reading) for reading in readings]
    looks = _looks(readings, judge, pool) if judge.rules.images != "off" else {}
    changed = {id(reading) for reading in fetched.values() if reading.conversation}
    for reading in readings:
        findings = [*reading.findings, *_of_pictures(reading, judge, looks)]
        if id(reading) in changed:
            advice = "--fix OUT writes it with the name of the file"
            findings.append(_finding(reading, "image-fetched", "downloaded; the row still names the URL", advice))
        yield RowFindings(reading.row, reading.raw, tuple(findings), id(reading) in changed)


def _fetched(readings: list[ParsedRow], judge: RowChecker, pool: ThreadPoolExecutor) -> dict[int, ParsedRow]:
    """The rows that name URLs read again once their pictures are files, by the readings they replace."""
    fetch = judge.rules.fetch
    assert fetch is not None

    def again(reading: ParsedRow) -> RawRow:
        try:
            return fetch(reading.raw, reading.root)
        except RecordError as error:
            return replace(reading.raw, error=error)

    waiting = [reading for reading in readings if any(finding.code == "image-url" for finding in reading.findings)]
    rows = pool.map(again, waiting)
    return {id(old): judge.read(old.row, row) for old, row in zip(waiting, rows, strict=True)}


def _looks(readings: list[ParsedRow], judge: RowChecker, pool: ThreadPoolExecutor) -> dict[int, ImageFindings]:
    """The pictures of these rows that are not known to be sound, each looked at once."""
    fresh: dict[int, tuple[ImageRef, str]] = {}
    for reading in readings:
        for image in reading.conversation.images if reading.conversation else ():
            key = _name(image)
            if key not in judge.images:
                fresh[key] = image, reading.root
    rules = judge.rules

    def one(item: tuple[ImageRef, str]) -> ImageFindings:
        return look(*item, rules.limits, rules.images == "decode", rules.leaks)

    judge.memory.looked += len(fresh)
    return dict(zip(fresh, pool.map(one, fresh.values()), strict=True))


def _of_pictures(reading: ParsedRow, judge: RowChecker, looks: dict[int, ImageFindings]) -> Iterator[Finding]:
    """A picture that cannot be read is told with every row that shows it, an odd one with the first."""
    memory = judge.memory
    for image in reading.conversation.images if reading.conversation else ():
        key = _name(image)
        if key not in looks or key in judge.images:
            continue
        for fault in looks[key].faults:
            yield _finding(reading, fault.code, fault.found, fault.advice)
        digest = looks[key].digest
        if judge.held_out and (key in memory.images or digest in memory.pictures):
            advice = "Keep each picture on one side: validation must not have been seen"
            yield _finding(reading, "image-leak", f"{image.path or 'a picture'} is in the training data too", advice)
        elif digest and not judge.held_out:
            memory.pictures.first(digest, reading.row)
        if looks[key].sound:
            judge.images.first(key, reading.row)


def _name(image: ImageRef) -> int:
    return hash64(image.data or image.path)


def _finding(reading: ParsedRow, code: str, found: str, advice: str) -> Finding:
    return Finding(code, reading.raw.place, reading.row, "image", found, advice)
