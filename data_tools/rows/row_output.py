"""Write raw records in the file type they were read from: JSON, JSONL, CSV or parquet; files are written atomically."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from data_tools.rows.json_array import array_writer
from llm.errors import ConfigError, Place, RecordError, RunError
from llm.files.atomic_files import atomic_file
from llm.records.record import kind
from llm.rows.compressed import suffix_of
from llm.rows.csv_rows import csv_delimiter
from llm.rows.parquet_rows import PARQUET_BATCH


class WriteRow(Protocol):
    """Appends a record. `text` is its JSON, to be written unchanged; empty to write `row` as JSON."""

    def __call__(self, place: Place, row: object, text: str = "") -> None: ...


JSON_FORMS = (".json", ".jsonl", ".ndjson")


def output_suffix(files: Sequence[Path]) -> str:
    """The suffix of a file for the records of `files`: their own if they share one, otherwise .jsonl."""
    suffixes = {suffix_of(file) for file in files}
    return suffixes.pop() if len(suffixes) == 1 and suffixes <= set(_WRITERS) else ".jsonl"


def check_output(out: Path, files: Sequence[Path]) -> None:
    """ConfigError if the suffix of `out` cannot hold the records of `files`, or if `out` is one of them."""
    if any(out.exists() and out.samefile(file) for file in files):
        raise ConfigError(f"{out}: is the input, which is never written over. Name another file")
    form, own = out.suffix.lower(), {suffix_of(file) for file in files}
    if form not in _WRITERS:
        raise ConfigError(f"{out}: an unknown suffix. Use {' '.join(_WRITERS)}")
    if form not in JSON_FORMS and own != {form}:
        found = f"{out}: {form} can only be written from {form}, found {' '.join(sorted(own))}"
        raise ConfigError(f"{found}. Name the output .jsonl, or convert first: eyegraft data convert")


@contextmanager
def row_writer(out: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    """A function that appends records of `files` to `out`, in the file type of its suffix.

    The file appears when the block ends, and not at all if it raises. RunError if it cannot be written, RecordError
    for a record that the file type cannot hold.
    """
    with _atomic(out) as unfinished, _WRITERS[out.suffix.lower()](unfinished, files) as write:
        yield write


@contextmanager
def byte_writer(out: Path) -> Iterator[Callable[[bytes], object]]:
    """A function that appends bytes to `out`; the file appears as with `row_writer`."""
    with _atomic(out) as unfinished, unfinished.open("wb") as file:
        yield file.write


@contextmanager
def _atomic(out: Path) -> Iterator[Path]:
    """A temporary path that becomes `out` when the block ends; RunError if it cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as unfinished:
            yield unfinished
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable place") from error


def json_bytes(place: Place, row: object, indent: int | None = None) -> bytes:
    """A record as JSON in UTF-8; lone surrogates, which UTF-8 cannot encode, as escapes."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent)
    except TypeError:
        advice = "Name the output .parquet where all of the data is parquet, or convert it first: eyegraft data convert"
        raise RecordError(place, "record", f"holds {_non_json(row)}, which JSON cannot hold", advice) from None
    except ValueError:
        raise RecordError(place, "record", "holds NaN or an infinite number", "JSON has none: remove it") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(row, indent=indent).encode()


def _non_json(value: object) -> str:
    """The kind of the first value in a record that JSON has no type for."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return next((found for found in map(_non_json, inner) if found), "")
    return "" if value is None or isinstance(value, str | int | float) else kind(value)


@contextmanager
def _lines(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    with path.open("wb") as file:

        def write(place: Place, row: object, text: str = "") -> None:
            one_line = text and "\n" not in text
            file.write((text.encode() if one_line else json_bytes(place, row)) + b"\n")

        yield write


@contextmanager
def _json(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    with path.open("wb") as file, array_writer(file) as add:

        def write(place: Place, row: object, text: str = "") -> None:
            add(text.encode() if text else json_bytes(place, row))

        yield write


@contextmanager
def _csv(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    header: list[str] = []
    delimiter, _ = csv_delimiter(files[0])
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")

        def write(place: Place, row: object, text: str = "") -> None:
            assert isinstance(row, dict)
            if not header:
                header.extend(row)
                rows.writerow(header)
            if list(row) != header:
                found = f"columns {', '.join(row)}, the first file has {', '.join(header)}"
                raise RecordError(place, "CSV", found, "Name the output .jsonl, which may hold both")
            rows.writerow(row.values())

        yield write


@contextmanager
def _parquet(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.unify_schemas([pyarrow.parquet.read_schema(file) for file in files])
    except pyarrow.ArrowException as error:
        names = " and ".join(map(str, files))
        raise ConfigError(
            f"{names}: their columns differ ({error}). Convert them first: eyegraft data convert"
        ) from None
    batch: list[object] = []
    with pyarrow.parquet.ParquetWriter(path, schema) as table:

        def flush() -> None:
            table.write_table(pyarrow.Table.from_pylist(batch, schema))
            batch.clear()

        def write(place: Place, row: object, text: str = "") -> None:
            batch.append(row)
            if len(batch) == PARQUET_BATCH:
                flush()

        yield write
        flush()


_WRITERS: dict[str, Callable[[Path, Sequence[Path]], AbstractContextManager[WriteRow]]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
