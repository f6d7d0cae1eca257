"""Read the rows of JSON, JSONL, parquet, CSV and text files (one row each) with the place of each row.

The formats (`llm.formats.readers`) interpret the rows.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from llm.errors import DataError, Place, RecordError
from llm.files.bounded_lines import LONGEST, bounded_lines
from llm.files.regular_files import TEXT, check_regular, open_data, read_text
from llm.formats.json_errors import too_long_error
from llm.formats.json_object import json_members
from llm.formats.json_rows import json_records
from llm.formats.json_stream import find_encoding_error

Row = Mapping[str, object]

PARQUET_BATCH = 64  # rows in memory at a time: a row may hold whole images

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file, or its error; `text` is its JSON text, empty for other file types."""

    place: Place
    value: object = None
    text: str = ""
    error: RecordError | None = None


def read_rows(path: Path) -> Iterator[tuple[Place, object]]:
    """Yield (place, row) of a file, or of every data file under a folder in sorted order.

    In a folder with record files (JSON, JSONL, parquet, CSV) text files are skipped, since they describe the data; so
    are hidden files and folders. Raises RecordError where a file is invalid, DataError when `path` is missing, of an
    unknown type or a folder without data.
    """
    for row in raw_rows(path):
        if row.error is not None:
            raise row.error
        yield row.place, row.value


def raw_rows(path: Path) -> Iterator[RawRow]:
    """Yield the same rows and the errors of invalid ones, continuing after those."""
    for file in data_files(path):
        yield from _FILES[file.suffix.lower()](file)


def read_members(path: Path) -> Iterator[tuple[str, Place, object]]:
    """Yield (name, place, value) of the members of a JSON object; of a member that is a list, of each of its items.

    For files of several lists (COCO, VQAv2), which need not fit into memory. Raises as `read_rows`.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file. Correct the path")
    for name, line, value in json_members(path):
        yield name, _place(path, line, value), value


def data_files(path: Path) -> list[Path]:
    """The files that `read_rows` reads for `path`, in order."""
    if path.is_dir():
        return _files_of_folder(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Correct the path")
    if path.suffix.lower() not in _FILES:
        raise DataError(f"{path}: files of this type are not supported. Known are {' '.join(_FILES)}")
    return [path]


def _files_of_folder(folder: Path) -> list[Path]:
    # The suffix first: asking the disk about each of a million images takes minutes.
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _FILES and _is_data(path))
    names = sorted(path.relative_to(folder) for path in found)
    files = [folder / name for name in names if not any(part.startswith(".") for part in name.parts)]
    records = [file for file in files if file.suffix.lower() in _RECORD_FILES]
    texts = [file for file in files if file.suffix.lower() in _TEXT_FILES]
    if not records and not texts:
        raise DataError(f"{folder}: no data file in this folder. Known are {' '.join(_FILES)}")
    return records or texts


def _is_data(path: Path) -> bool:
    """Whether the path is not a folder or a dangling link; pipes are refused when opened."""
    return path.exists() and not path.is_dir()


def _place(path: Path, line: int, row: object, otherwise: str = "") -> Place:
    name = row.get("id") if isinstance(row, dict) else None
    return Place(str(path), line, str(name) if isinstance(name, str | int) and name != "" else otherwise)


def _broken(error: RecordError, text: str = "") -> RawRow:
    return RawRow(error.place, text=text, error=error)


def _json(path: Path) -> Iterator[RawRow]:
    for record in json_records(path):
        if record.error is not None:
            yield _broken(record.error, record.text)
        else:
            yield RawRow(_place(path, record.line, record.value), record.value, record.text)


def _parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        check_regular(path)
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield RawRow(_place(path, 0, row, f"row {number}"), row)
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: a text that is not UTF-8
        found = f"not a valid parquet file, after row {number}: {error}"
        yield _broken(RecordError(Place(str(path)), "parquet", found, "Download or write it again", "parquet-broken"))


def _csv(path: Path) -> Iterator[RawRow]:
    with TextIOWrapper(open_data(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = _bounded(path, file)
        rows = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        header: list[str] = []
        line = 0
        try:
            for cells in rows:
                start, line = line + 1, rows.line_num
                if not cells:
                    continue
                place, text = Place(str(path), start), ",".join(cells)
                error = find_encoding_error(place, text) or _fault(place, header or cells, cells)
                if error is not None:
                    yield _broken(error, text)
                    if not header:
                        return
                elif not header:
                    header = cells
                else:
                    row = dict(zip(header, cells, strict=True))
                    yield RawRow(_place(path, start, row), row)
        except RecordError as error:
            yield _broken(error)
        except csv.Error as error:
            advice = "Correct the quotes, or write the data as JSONL"
            yield _broken(RecordError(Place(str(path), rows.line_num), "CSV", str(error), advice, "csv-broken"))


def _bounded(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a file. Raises RecordError for one that is too long."""
    for number, line in bounded_lines(file):
        if len(line) > LONGEST:
            raise too_long_error(Place(str(path), number))
        yield line


def _fault(place: Place, header: list[str], cells: list[str]) -> RecordError | None:
    """The error of the cells of one row or of the header; None if they are valid."""
    if len(set(header)) < len(header) or "" in header:
        advice = "Give every column a unique name in the first row"
        return RecordError(place, "CSV", f"column names {', '.join(header)}", advice, "csv-broken")
    if len(cells) != len(header):
        advice = "Quote cells that hold the separator or a line break"
        return RecordError(place, "CSV", f"{len(cells)} cells under {len(header)} columns", advice, "csv-broken")
    return None


def _text(path: Path) -> Iterator[RawRow]:
    try:
        text = read_text(path, TEXT, "utf-8-sig", "surrogateescape")
    except OSError as cause:
        raise DataError(f"{path}: {cause.strerror}. Correct the path, or split the text into files") from cause
    if not text.strip():  # an empty file (`__init__.py`) holds no record
        return
    error = find_encoding_error(Place(str(path), 1), text)
    if error is None:
        yield RawRow(Place(str(path), 1), {"text": text})
        return
    line = 1 + next(number for number, line in enumerate(text.split("\n")) if find_encoding_error(error.place, line))
    place = Place(str(path), line)
    yield _broken(RecordError(place, error.field, error.found, error.advice, error.code))


_RECORD_FILES: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".json": _json,
    ".jsonl": _json,
    ".ndjson": _json,
    ".parquet": _parquet,
    ".csv": _csv,
    ".tsv": _csv,
}
_TEXT_SUFFIXES = ".txt .md .rst .tex .html .py .c .h .cc .cpp .hpp .cu .java .js .ts .go .rs .sh .sql .lua .rb .php"
_TEXT_FILES = dict.fromkeys(_TEXT_SUFFIXES.split(), _text)
_FILES = _RECORD_FILES | _TEXT_FILES
SUFFIXES = tuple(_FILES)
"""Suffixes of the files that are read."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row as a reader gets it: its place, its format and the folder of its images.

    `path` is the path of a nested object inside the row (`conversations[2].`), for messages.
    """

    place: Place
    row: Row
    format: str
    images: str = ""  # absolute folder
    columns: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def error(self, name: str, found: str, advice: str = "", code: str = "record") -> RecordError:
        """A RecordError about one field of this record."""
        default = f"The source is read as {self.format}: correct the record, or name the format it is in"
        return RecordError(self.place, self.path + name, found, advice or default, code)

    def text(self, name: str) -> str:
        """The field as text. Raises RecordError for any other type."""
        value = self.row.get(name)
        if isinstance(value, str):
            return value
        if value is None:
            raise self.error(name, "is missing", code="field-missing")
        raise self.error(name, f"is {kind(value)}, not text", code="field-type")

    def optional(self, name: str) -> str:
        """The field as text; empty when it is missing or null."""
        return "" if self.row.get(name) is None else self.text(name)

    def flag(self, name: str, default: bool) -> bool:
        """The field as a bool; `default` when it is missing or null."""
        value = self.row.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.error(
            name, f"is {kind(value)}, not true or false", "Write true or false, without quotes", "field-type"
        )

    def parts(self, name: str) -> list["Record"]:
        """The field as a list of objects. Raises RecordError for an empty list and any other type."""
        value = self.row.get(name)
        if value is None:
            raise self.error(name, "is missing", code="field-missing")
        if not isinstance(value, list):
            raise self.error(name, f"is {kind(value)}, not a list", code="field-type")
        if not value:
            raise self.error(name, "is an empty list", "Add the turns or remove the record", "turns-empty")
        return [self.part(f"{name}[{index}]", item) for index, item in enumerate(value)]

    def part(self, name: str, value: object) -> "Record":
        """An object inside this record."""
        if not isinstance(value, dict):
            raise self.error(name, f"is {kind(value)}, not an object", code="field-type")
        # Not dataclasses.replace, which took a third of the time of reading LLaVA's 665k records.
        return Record(self.place, value, self.format, self.images, self.columns, f"{self.path}{name}.")


def kind(value: object) -> str:
    """The type of a JSON value, for messages."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
