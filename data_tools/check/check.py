"""`eyegraft data check`: every record and every image of a source, checked by the rules that training applies.

Records are read as a stream and their images checked in threads, so memory does not grow with the file.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from data_tools.check.file_checks import check_file
from data_tools.check.findings import Finding
from data_tools.check.image_checks import ImageFindings, check_image
from data_tools.check.repair import Change, add_placeholders, repair_paths, without_trailing_commas
from data_tools.check.report import CheckReport, FindingCounter
from data_tools.check.row_checks import ParsedRow, RowChecker
from data_tools.check.rules import CheckRules, CheckState
from data_tools.check.seen_hashes import hash64
from data_tools.check.video_checks import check_video
from llm.config.schema import Source
from llm.errors import Place, RecordError
from llm.formats.conversation import ImageRef, VideoRef
from llm.formats.readers import NO_RECORD, SEEN, guess_format, source_rows
from llm.formats.reading_notes import FILL, unfilled
from llm.rows.files import data_files
from llm.rows.raw_row import RawRow

ROWS = 256  # records whose images are checked in one batch of threads
BYTES = 32 << 20  # of images embedded in records that a batch holds at most
ProgressCallback = Callable[[int, int], None]
"""Called after each record with the numbers of records and of images checked so far."""


@dataclass(frozen=True, slots=True)
class RowFindings:
    """One record and its findings. `row` counts from 1; 0 is used for a file, and for text between its records.

    `changed`: `raw` is not the record of the data file: it names downloaded files, or was repaired by `changes`.
    """

    row: int
    raw: RawRow
    findings: tuple[Finding, ...]
    changed: bool = False
    changes: tuple[Change, ...] = ()

    @property
    def bad(self) -> bool:
        """True when the record cannot be trained on."""
        return any(finding.level == "error" for finding in self.findings)


def check(source: Source, base: Path, rules: CheckRules, progress: ProgressCallback | None = None) -> CheckReport:
    """Check every record of a source; relative paths are resolved against `base`.

    Raises ConfigError and DataError for a source that cannot be read.
    """
    counter, state = FindingCounter(rules.keep), CheckState()
    for row in check_rows(source, base, rules, state):
        counter.add(row.row, row.findings)
        if progress:
            progress(counter.rows, state.images)
    return counter.report(images=state.images, videos=state.videos)


def check_rows(
    source: Source, base: Path, rules: CheckRules, state: CheckState, held_out: bool = False
) -> Iterator[RowFindings]:
    """Findings about the files of a source, then every record in order with its findings.

    `held_out`: the source is for validation; its records and images are compared with those in `state`.
    """
    unread: list[str] = []
    rows = source_rows(source, base, unread.append)
    first = list(islice(rows, SEEN))
    checker = RowChecker(source, base, guess_format(source, [_readable(row) for row in first]), rules, state, held_out)
    yield from _check_files(source, base)
    count = usable = 0
    with ThreadPoolExecutor() as pool:
        for batch in _batches(checker.read(number, row) for number, row in _numbered(chain(first, rows))):
            yield from _check_batch(batch, checker, pool)
            count += sum(parsed.row > 0 for parsed in batch)
            usable += sum(parsed.row > 0 and not parsed.left_out for parsed in batch)
    state.records += count
    place = Place(source.path)
    for line in unread:
        advice = "Give split (--split) to read another one"
        finding = Finding("split-unread", place, 0, "split", line.partition(": ")[2], advice)
        yield RowFindings(0, RawRow(place), (finding,))
    if not usable:
        found, advice = NO_RECORD.split(". ", 1)
        yield RowFindings(0, RawRow(place), (Finding("no-rows", place, 0, "file", found, advice),))


def _check_files(source: Source, base: Path) -> Iterator[RowFindings]:
    local = base / Path(source.path).expanduser()
    for file in data_files(local, source.split) if local.exists() else []:
        findings = tuple(check_file(file))
        if findings:
            yield RowFindings(0, RawRow(Place(str(file))), findings)


def _numbered(rows: Iterable[RawRow]) -> Iterator[tuple[int, RawRow]]:
    """Records numbered from 1; an error without text lies between records and gets 0."""
    number = 0
    for row in rows:
        between = row.error is not None and not row.text
        number += not between
        yield 0 if between else number, row


def _batches(rows: Iterable[ParsedRow]) -> Iterator[list[ParsedRow]]:
    """Records in lists of at most ROWS, cut earlier once their embedded images exceed BYTES."""
    batch: list[ParsedRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(one.data) for one in row.media)
        if len(batch) == ROWS or size > BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_batch(rows: list[ParsedRow], checker: RowChecker, pool: ThreadPoolExecutor) -> Iterator[RowFindings]:
    """Download images where that is allowed, check all images, and add their findings to the records'."""
    fetched = _fetch_images(rows, checker, pool) if checker.rules.fetch else {}
    rows = [fetched.get(id(row), row) for row in rows]
    changed = {id(row) for row in fetched.values() if row.conversation}
    repaired = [_repair(row, checker) for row in rows]
    changed = {id(new) for row, (new, _) in zip(rows, repaired, strict=True) if id(row) in changed}
    rows, repairs = [row for row, _ in repaired], [changes for _, changes in repaired]
    images = _check_images(rows, checker, pool) if checker.rules.images != "off" else {}
    for row, changes in zip(rows, repairs, strict=True):
        findings = [*row.findings, *_image_findings(row, checker, images)]
        for change in changes:
            findings.append(_finding(row, "repaired", f"{change.before!r} -> {change.after!r}", "changed by --fix"))
        findings += [] if changes else _respelled(row)
        findings += _unfilled(row)
        if id(row) in changed:
            advice = "--fix OUT writes the record with the file's name"
            findings.append(_finding(row, "image-fetched", "downloaded; the record still names the URL", advice))
        yield RowFindings(row.row, row.raw, tuple(findings), id(row) in changed or bool(changes), changes)


def _respelled(row: ParsedRow) -> Iterator[Finding]:
    """Findings about image paths that name their file in another way."""
    for one in row.media:
        if one.written:
            found = f"{one.written!r} is read as {os.path.relpath(one.path, row.root)}"
            yield _finding(row, "image-path", found, "--fix OUT writes the path of the file")


def _unfilled(row: ParsedRow) -> Iterator[Finding]:
    """Findings about placeholders of a template that was not filled in."""
    for field, placeholder in unfilled(row.conversation) if row.conversation else ():
        advice = f"Fill it in: {FILL}"
        yield Finding("placeholder", row.raw.place, row.row, field, f"{placeholder} is left in the text", advice)


def _readable(row: RawRow) -> object:
    """The value of a row; of one that only has commas too many, its value without them."""
    comma = row.error is not None and row.error.code == "json-comma"
    return without_trailing_commas(row.text) if comma else row.value


def _repair(row: ParsedRow, checker: RowChecker) -> tuple[ParsedRow, tuple[Change, ...]]:
    """The record with its repairs; as it is where they do not make it one that can be read."""
    if checker.rules.repair and row.raw.error is not None and row.raw.error.code == "json-comma":
        raw = RawRow(row.raw.place, _readable(row.raw))
        again = checker.read(row.row, raw)
        return (again, (Change("JSON", row.raw.error.found, "without the comma"),)) if again.conversation else (row, ())
    if not checker.rules.repair or not isinstance(row.raw.value, dict):
        return row, ()
    value, changes = repair_paths(row.raw.value, row.root)
    if any(finding.code == "image-count" and finding.found.startswith("0 ") for finding in row.findings):
        value, added = add_placeholders(value)
        raw = replace(row.raw, value=value)
        again = checker.read(row.row, raw) if added else row
        return (again, (*changes, *added)) if again.conversation else (row, ())
    if not changes or not row.conversation:
        return row, ()
    return replace(row, raw=replace(row.raw, value=value)), tuple(changes)


def _fetch_images(rows: list[ParsedRow], checker: RowChecker, pool: ThreadPoolExecutor) -> dict[int, ParsedRow]:
    """Download the images of records that name URLs. Returns the records parsed again, by `id` of the old ones."""
    fetch = checker.rules.fetch
    assert fetch is not None

    def with_files(row: ParsedRow) -> RawRow:
        try:
            return fetch(row.raw, row.root)
        except RecordError as error:
            return replace(row.raw, error=error)

    with_urls = [row for row in rows if any(finding.code == "image-url" for finding in row.findings)]
    raw = pool.map(with_files, with_urls)
    return {id(old): checker.read(old.row, new) for old, new in zip(with_urls, raw, strict=True)}


def _check_images(rows: list[ParsedRow], checker: RowChecker, pool: ThreadPoolExecutor) -> dict[int, ImageFindings]:
    """Check each image and video of these records once, except those known to be sound. Keys as `_media_key`."""
    media: dict[int, tuple[ImageRef | VideoRef, str]] = {}
    for row in rows:
        for one in row.media:
            key = _media_key(one)
            if key not in checker.image_names:
                media[key] = one, row.root
    rules = checker.rules

    def check_one(media_and_root: tuple[ImageRef | VideoRef, str]) -> ImageFindings:
        one, root = media_and_root
        if isinstance(one, VideoRef):
            return check_video(one, root, rules.images == "decode", rules.leaks)
        return check_image(one, root, rules.limits, rules.images == "decode", rules.leaks)

    videos = sum(isinstance(one, VideoRef) for one, _ in media.values())
    checker.state.videos += videos
    checker.state.images += len(media) - videos
    return dict(zip(media, pool.map(check_one, media.values()), strict=True))


def _image_findings(row: ParsedRow, checker: RowChecker, checked: dict[int, ImageFindings]) -> Iterator[Finding]:
    """Findings about the media of a record: an error with every record that shows one, a warning once."""
    state = checker.state
    for image in row.media:
        key = _media_key(image)
        kind = "video" if isinstance(image, VideoRef) else "image"
        if key not in checked or key in checker.image_names:
            continue
        for problem in checked[key].problems:
            yield _finding(row, problem.code, problem.found, problem.advice, kind)
        digest = checked[key].digest
        if checker.held_out and (key in state.image_names or digest in state.image_contents):
            advice = f"Keep each {kind} on one side: the model must not have seen validation {kind}s"
            found = f"{image.path or f'an embedded {kind}'} is in the training data too"
            yield _finding(row, f"{kind}-leak", found, advice, kind)
        elif digest and not checker.held_out:
            state.image_contents.first(digest, row.row)
        if checked[key].sound:
            checker.image_names.first(key, row.row)


def _media_key(one: ImageRef | VideoRef) -> int:
    return hash64(one.data or one.path)


def _finding(row: ParsedRow, code: str, found: str, advice: str, field: str = "image") -> Finding:
    return Finding(code, row.raw.place, row.row, field, found, advice)
