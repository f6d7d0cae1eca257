"""Rows of files, each with its place: JSON, JSONL, parquet, CSV, and plain text as one row a file.

What a row means is the readers' matter; here it is an object that stands somewhere.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.json_rows import json_members, json_rows

Row = Mapping[str, object]

PARQUET_BATCH = 64  # rows held at a time: a row may carry whole images

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


def read_rows(path: Path) -> Iterator[tuple[Place, object]]:
    """Every row of a file, or of every data file under a folder in sorted order, as (place, row).

    In a folder with record files (JSON, JSONL, parquet, CSV) text files are passed over: they describe the data.
    Hidden files and folders are passed over too. Raises RecordError where a file is broken, DataError when `path` is
    missing, of an unknown kind or a folder without data.
    """
    for file in data_files(path):
        try:
            yield from _FILES[file.suffix.lower()](file)
        except UnicodeDecodeError as error:
            raise _undecodable(file, error) from None


def read_members(path: Path) -> Iterator[tuple[str, Place, object]]:
    """(name, place, value) of the members of a JSON file that is one object; a list comes item by item.

    So files of several tables (COCO, VQAv2) are read without holding one whole. Raises as `read_rows` does.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Correct the path")
    try:
        for name, line, value in json_members(path):
            yield name, _place(path, line, value), value
    except UnicodeDecodeError as error:
        raise _undecodable(path, error) from None


def data_files(path: Path) -> list[Path]:
    """The files `read_rows` reads for `path`, in its order."""
    if path.is_dir():
        return _files_of_folder(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder. Correct the path")
    if path.suffix.lower() not in _FILES:
        raise DataError(f"{path}: files of this kind are not read. Known are {' '.join(_FILES)}")
    return [path]


def _files_of_folder(folder: Path) -> list[Path]:
    # The suffix first: asking the disk about each of a million images takes minutes.
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _FILES and path.is_file())
    names = sorted(path.relative_to(folder) for path in found)
    files = [folder / name for name in names if not any(part.startswith(".") for part in name.parts)]
    records = [file for file in files if file.suffix.lower() in _RECORD_FILES]
    texts = [file for file in files if file.suffix.lower() in _TEXT_FILES]
    if not records and not texts:
        raise DataError(f"{folder}: no data file in this folder. Known are {' '.join(_FILES)}")
    return records or texts


def _undecodable(path: Path, error: UnicodeDecodeError) -> RecordError:
    place = Place(str(path), _undecodable_line(path))
    return RecordError(place, "encoding", f"not UTF-8 ({error.reason})", "Save the file as UTF-8")


def _undecodable_line(path: Path) -> int:
    """The first line that is not UTF-8; a line break byte is never part of another character."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _place(path: Path, line: int, row: object, otherwise: str = "") -> Place:
    name = row.get("id") if isinstance(row, dict) else None
    return Place(str(path), line, str(name) if isinstance(name, str | int) and name != "" else otherwise)


def _json(path: Path) -> Iterator[tuple[Place, object]]:
    for line, row in json_rows(path):
        yield _place(path, line, row), row


def _parquet(path: Path) -> Iterator[tuple[Place, object]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield _place(path, 0, row, f"row {number}"), row
    except (pyarrow.ArrowException, OSError) as error:
        advice = f"after row {number}: {error}. Fetch or write it again"
        raise DataError(f"{path}: not a whole parquet file, {advice}") from None


def _csv(path: Path) -> Iterator[tuple[Place, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        header: list[str] = []
        line = 0
        try:
            for cells in rows:
                start, line = line + 1, rows.line_num
                if not cells:
                    continue
                if not header:
                    header = _header(Place(str(path), start), cells)
                    continue
                row = _cells(Place(str(path), start), header, cells)
                yield _place(path, start, row), row
        except csv.Error as error:
            advice = "Correct the quotes, or write the data as JSONL"
            raise RecordError(Place(str(path), rows.line_num), "CSV", str(error), advice) from None


def _header(place: Place, names: list[str]) -> list[str]:
    if len(set(names)) < len(names) or "" in names:
        advice = "Give every column a name of its own in the first row"
        raise RecordError(place, "CSV", f"column names {', '.join(names)}", advice)
    return names


def _cells(place: Place, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        advice = "Quote cells that hold the separator or a line break"
        raise RecordError(place, "CSV", f"{len(cells)} cells under {len(header)} columns", advice)
    return dict(zip(header, cells, strict=True))


def _text(path: Path) -> Iterator[tuple[Place, object]]:
    text = path.read_text(encoding="utf-8-sig")
    if text.strip():  # an empty file (`__init__.py`) holds no record
        yield Place(str(path), 1), {"text": text}


_RECORD_FILES: dict[str, Callable[[Path], Iterator[tuple[Place, object]]]] = {
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
"""The files that are read, by the end of their name."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row as a reader sees it: where it stands, the format it is read as, and the folder of its images.

    `path` leads from the row to a part of it (`conversations[2].`), so that errors name the whole way.
    """

    place: Place
    row: Row
    format: str
    images: str = ""  # absolute folder
    columns: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def error(self, name: str, found: str, advice: str = "") -> RecordError:
        """A RecordError about one field of this row."""
        default = f"The source is read as {self.format}: correct the record, or name the format it is in"
        return RecordError(self.place, self.path + name, found, advice or default)

    def text(self, name: str) -> str:
        """A field that must be text."""
        value = self.row.get(name)
        if isinstance(value, str):
            return value
        raise self.error(name, "is missing" if value is None else f"is {kind(value)}, not text")

    def optional(self, name: str) -> str:
        """A field that may be absent or null, which is the empty text."""
        return "" if self.row.get(name) is None else self.text(name)

    def flag(self, name: str, default: bool) -> bool:
        """A field that is true or false, or absent."""
        value = self.row.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.error(name, f"is {kind(value)}, not true or false", "Write true or false, without quotes")

    def parts(self, name: str) -> list["Record"]:
        """A field that must be a list of objects with at least one in it."""
        value = self.row.get(name)
        if value is None:
            raise self.error(name, "is missing")
        if not isinstance(value, list):
            raise self.error(name, f"is {kind(value)}, not a list")
        if not value:
            raise self.error(name, "is an empty list", "Add the turns or remove the record")
        return [self.part(f"{name}[{index}]", item) for index, item in enumerate(value)]

    def part(self, name: str, value: object) -> "Record":
        """An object inside this row."""
        if not isinstance(value, dict):
            raise self.error(name, f"is {kind(value)}, not an object")
        # Not dataclasses.replace, which took a third of the time to read LLaVA's 665k records.
        return Record(self.place, value, self.format, self.images, self.columns, f"{self.path}{name}.")


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
