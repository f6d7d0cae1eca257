"""Raw rows written back in the form they came in: JSON, JSONL, CSV or parquet; a file appears whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from llm.errors import ConfigError, Place, RecordError, RunError
from llm.files.atomic_files import atomic_file
from llm.formats.row_files import PARQUET_BATCH, kind


class WriteRow(Protocol):
    """Appends a row. `text` is how JSON wrote it, where it is to stay letter for letter."""

    def __call__(self, place: Place, row: object, text: str = "") -> None: ...


JSON_FORMS = (".json", ".jsonl", ".ndjson")


def output_suffix(files: Sequence[Path]) -> str:
    """The suffix under which the rows of these files are written again: their own where they share one, else .jsonl."""
    suffixes = {file.suffix.lower() for file in files}
    return suffixes.pop() if len(suffixes) == 1 and suffixes <= set(_SINKS) else ".jsonl"


def check_output(out: Path, files: Sequence[Path]) -> None:
    """ConfigError unless rows of `files` can be written to `out` as they are, and `out` is none of them."""
    if any(out.exists() and out.samefile(file) for file in files):
        raise ConfigError(f"{out}: is the data that is read, and that is never written over. Name another file")
    form, own = out.suffix.lower(), {file.suffix.lower() for file in files}
    if form not in _SINKS:
        raise ConfigError(f"{out}: a file of this kind is not written. Known are {' '.join(_SINKS)}")
    if form not in JSON_FORMS and own != {form}:
        found = f"{out}: {form} is written from {form} alone, found {' '.join(sorted(own))}"
        raise ConfigError(f"{found}. Name the output .jsonl, or convert first: eyegraft data convert")


@contextmanager
def row_writer(out: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    """What appends a row to `out`, in the form its suffix names; `files` are where the rows come from.

    The file appears when the block ends and not at all when it fails. RunError if it cannot be written, RecordError for
    a row that its form cannot hold.
    """
    with _whole(out) as unfinished, _SINKS[out.suffix.lower()](unfinished, files) as write:
        yield write


@contextmanager
def byte_writer(out: Path) -> Iterator[Callable[[bytes], object]]:
    """The same for content that is ready."""
    with _whole(out) as unfinished, unfinished.open("wb") as file:
        yield file.write


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """The name to write `out` under; RunError if that cannot be."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as unfinished:
            yield unfinished
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable place") from error


def json_bytes(place: Place, row: object, indent: int | None = None) -> bytes:
    """The row as JSON in UTF-8; half a surrogate pair, which UTF-8 cannot hold, as the escape it came from."""
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent)
    except TypeError:
        advice = "Name the output .parquet where all of the data is parquet, or convert it first: eyegraft data convert"
        raise RecordError(place, "record", f"holds {_foreign(row)}, which JSON cannot say", advice) from None
    except ValueError:
        raise RecordError(place, "record", "holds NaN or an infinite number", "JSON has none: remove it") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(row, indent=indent).encode()


def _foreign(value: object) -> str:
    """The first thing in a row that is not JSON's, in words."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return next((found for found in map(_foreign, inner) if found), "")
    return "" if value is None or isinstance(value, str | int | float) else kind(value)


@contextmanager
def _lines(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    with path.open("wb") as file:

        def write(place: Place, row: object, text: str = "") -> None:
            one_line = text and "\n" not in text
            _put(file, (text.encode() if one_line else json_bytes(place, row)) + b"\n")

        yield write


@contextmanager
def _json(path: Path, files: Sequence[Path]) -> Iterator[WriteRow]:
    """An array, one row a line, so that an error's line number is the row's."""
    before = b"[\n"
    with path.open("wb") as file:

        def write(place: Place, row: object, text: str = "") -> None:
            nonlocal before
            _put(file, before + (text.encode() if text else json_bytes(place, row)))
            before = b",\n"

        yield write
        _put(file, b"\n]\n" if before == b",\n" else b"[]\n")


def _put(file: BinaryIO, content: bytes) -> None:
    file.write(content)


@contextmanager
def _csv(path: Path, files: Sequence[Path], delimiter: str = ",") -> Iterator[WriteRow]:
    header: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")

        def write(place: Place, row: object, text: str = "") -> None:
            assert isinstance(row, dict)
            if not header:
                header.extend(row)
                rows.writerow(header)
            if list(row) != header:
                found = f"columns {', '.join(row)}, while the first file has {', '.join(header)}"
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
        raise ConfigError(f"{names}: their columns differ ({error}). Convert first: eyegraft data convert") from None
    held: list[object] = []
    with pyarrow.parquet.ParquetWriter(path, schema) as table:

        def flush() -> None:
            table.write_table(pyarrow.Table.from_pylist(held, schema))
            held.clear()

        def write(place: Place, row: object, text: str = "") -> None:
            held.append(row)
            if len(held) == PARQUET_BATCH:
                flush()

        yield write
        flush()


_SINKS: dict[str, Callable[[Path, Sequence[Path]], AbstractContextManager[WriteRow]]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
}
