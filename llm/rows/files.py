"""Read the rows of JSON, JSONL, parquet, Arrow, CSV, Excel and text files (one row each) with the place of each row.

The formats (`llm.formats.readers`) interpret the rows.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.files.regular_files import open_data
from llm.log import logger
from llm.rows.arrow_rows import arrow_rows
from llm.rows.compressed import open_rows, suffix_of
from llm.rows.csv_rows import csv_rows
from llm.rows.folder_files import FolderFiles, choose_files
from llm.rows.json_object import json_members
from llm.rows.json_rows import json_records
from llm.rows.json_stream import JsonRecord
from llm.rows.parquet_rows import parquet_rows
from llm.rows.raw_row import RawRow, broken, place_of
from llm.rows.sheet_rows import sheet_rows
from llm.rows.text_rows import text_rows
from llm.rows.wrapped_rows import is_wrapped, read_wrapped

Report = Callable[[str], object]


def read_rows(path: Path, split: str = "train") -> Iterator[tuple[Place, object]]:
    """Yield (place, row) of a file, or of the data files under a folder in sorted order.

    Of a folder or a JSON file with splits, one split is read. In a folder with record files (JSON, JSONL, parquet, CSV)
    text files are skipped, since they describe the data; so are hidden files and folders. Raises RecordError where a
    file is invalid, DataError when `path` is missing, of an unknown type, a folder without data or without the split.
    """
    for row in raw_rows(path, split):
        if row.error is not None:
            raise row.error
        yield row.place, row.value


def raw_rows(path: Path, split: str = "train", report: Report = logger.warning) -> Iterator[RawRow]:
    """Yield the same rows and the errors of invalid ones, continuing after those.

    `report` is called with one line on what was left out because it is of another split, once all rows are read.
    """
    chosen = choose(path, split)
    for file in chosen.files:
        yield from _rows_of(file, split, report)
    if chosen.unread:
        report(chosen.unread)


def _rows_of(file: Path, split: str, report: Report) -> Iterator[RawRow]:
    read = _FILES[suffix_of(file)]
    try:
        if pointer := _lfs_pointer(file):
            yield broken(pointer)
        elif read in (_json, csv_rows, text_rows) and (other := _other_kind(file, read is text_rows)):
            yield broken(other)
        elif read is _json and is_wrapped(file):
            yield from _json_rows(file, read_wrapped(file, split, report))
        else:
            yield from read(file)
    except OSError as error:  # a disk that fails, or compressed data that ends early
        found = f"cannot be read to its end: {error.strerror or error}"
        yield broken(RecordError(Place(str(file)), "file", found, "Download or copy it again", "file-broken"))


def _lfs_pointer(file: Path) -> RecordError | None:
    """The error of a file that git-lfs has not downloaded."""
    if file.stat().st_size > _POINTER_SIZE:
        return None
    with open_data(file) as opened:
        if not opened.read(len(_POINTER)).startswith(_POINTER):
            return None
    return RecordError(
        Place(str(file)), "file", "only a pointer of git-lfs, not the data", "Run git lfs pull", "file-broken"
    )


def _other_kind(file: Path, is_text: bool) -> RecordError | None:
    """The error of a file that is named as text and is of another kind by its first bytes; `is_text`: HTML may be."""
    with open_rows(file) as opened:
        start = opened.read(_SEEN)
    found = next(((kind, advice) for first, kind, advice in _KINDS if re.match(first, start, re.DOTALL)), None)
    if found is None and not is_text and _HTML.match(start):
        found = ("its content is a web page (HTML)", "Download the file itself, not the page that shows it")
    return RecordError(Place(str(file)), "file", *found, "file-kind") if found else None


def read_members(path: Path) -> Iterator[tuple[str, Place, object]]:
    """Yield (name, place, value) of the members of a JSON object; of a member that is a list, of each of its items.

    For files of several lists (COCO, VQAv2), which need not fit into memory. Raises as `read_rows`.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file. Correct the path")
    for name, line, value in json_members(path):
        yield name, place_of(str(path), line, value), value


def data_files(path: Path, split: str = "train") -> list[Path]:
    """The files that `read_rows` reads for `path`, in order."""
    return list(choose(path, split).files)


def choose(path: Path, split: str) -> FolderFiles:
    """The files to read, and one line on files of a folder that are not, since they are of another split."""
    if path.is_dir():
        return _choose_in_folder(path, split)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Correct the path")
    if suffix_of(path) not in _FILES:
        raise DataError(f"{path}: {_refused(path)}")
    return FolderFiles((path,))


def _choose_in_folder(folder: Path, split: str) -> FolderFiles:
    # The suffix first: asking the disk about each of a million images takes minutes.
    found = (path for path in folder.rglob("*") if suffix_of(path) in _FILES and _is_data(path))
    names = sorted(path.relative_to(folder) for path in found)
    files = [folder / name for name in names if not any(part.startswith(".") for part in name.parts)]
    records = [file for file in files if suffix_of(file) in _RECORD_FILES]
    texts = [file for file in files if suffix_of(file) in _TEXT_FILES]
    if not records and not texts:
        packed = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ADVICE), None)
        more = f"{packed.name}: {_refused(packed)}" if packed else f"Known are {' '.join(_FILES)}"
        raise DataError(f"{folder}: no data file in this folder. {more}")
    return choose_files(folder, records or texts, split, not records)


def _refused(path: Path) -> str:
    """Why a file is not read, and what to do."""
    advice = _ADVICE.get(path.suffix.lower())
    return advice or f"files of this type are not supported. Known are {' '.join(_FILES)}"


def _is_data(path: Path) -> bool:
    """Whether the path is not a folder or a dangling link; pipes are refused when opened."""
    return path.exists() and not path.is_dir()


def _json(path: Path) -> Iterator[RawRow]:
    return _json_rows(path, json_records(path))


def _json_rows(path: Path, records: Iterable[JsonRecord]) -> Iterator[RawRow]:
    for record in records:
        if record.error is not None:
            yield broken(record.error, record.text)
        else:
            yield RawRow(place_of(str(path), record.line, record.value), record.value, record.text)


_RECORD_FILES: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".json": _json,
    ".jsonl": _json,
    ".ndjson": _json,
    ".jsonlines": _json,
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
    ".feather": arrow_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".xlsx": sheet_rows,
}
_TEXT_SUFFIXES = ".txt .md .rst .tex .html .py .c .h .cc .cpp .hpp .cu .java .js .ts .go .rs .sh .sql .lua .rb .php"
_TEXT_FILES = dict.fromkeys(_TEXT_SUFFIXES.split(), text_rows)
_FILES = _RECORD_FILES | _TEXT_FILES
SUFFIXES = tuple(_FILES)
"""Suffixes of the files that are read."""

_ARCHIVE = "an archive. Unpack it, then name the file or folder that was in it"
_SHEET = "a spreadsheet of another kind. Save it as CSV or .xlsx"
_PICKLE = "a pickle, which may run programs when it is read. Write its records as JSONL"
_ADVICE = (
    dict.fromkeys((".zip", ".tar", ".tgz", ".gz", ".bz2", ".zst", ".xz", ".7z", ".rar"), _ARCHIVE)
    | dict.fromkeys((".xls", ".ods", ".numbers"), _SHEET)
    | dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz"), _PICKLE)
)
_WRITTEN = "Training reads records: write its text as questions and answers in JSON, JSONL, CSV or Excel"
_PICTURE = "An image alone is no training data: put the images into one zip file, beside a file of records"
_UNPACK = "Unpack it, then use the file of records that is in it"
# The first bytes of files that are not text, what they are, and what to do. Office's files are zip archives.
_KINDS = (
    (rb"%PDF-", "its content is a PDF document", _WRITTEN),
    (rb"PK\x03\x04.*word/", "its content is a Word document", _WRITTEN),
    (rb"PK\x03\x04.*xl/", "its content is an Excel workbook", "Name it .xlsx"),
    (rb"PK\x03\x04", "its content is a zip archive, or a file of an office program", _UNPACK),
    (rb"\xd0\xcf\x11\xe0", "its content is a file of an older office program", "Save it as .xlsx or CSV"),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", "its content is an image", _PICTURE),
    (rb"\x1f\x8b", "its content is compressed with gzip", "Add .gz to its name"),
    (rb"BZh[1-9]1AY&SY", "its content is compressed with bzip2", "Add .bz2 to its name"),
    (rb"\x28\xb5\x2f\xfd", "its content is compressed with zstd", "Add .zst to its name"),
    (rb"\xfd7zXZ\0", "its content is compressed with xz", "Add .xz to its name"),
    (rb"7z\xbc\xaf|Rar!\x1a", "its content is a compressed archive", _UNPACK),
    (rb"PAR1\x15", "its content is a parquet file", "Name it .parquet"),
    (rb"ARROW1\0\0", "its content is an Arrow file", "Name it .arrow"),
)
_HTML = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
_SEEN = 4096  # bytes
_POINTER_SIZE = 1024  # bytes
_POINTER = b"version https://git-lfs.github.com/spec/"
