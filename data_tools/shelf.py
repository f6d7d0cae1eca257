"""Where sound rows are put: JSON, JSONL, CSV or parquet, written under another name and renamed when all are there."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from llm.errors import ConfigError
from llm.records import PARQUET_BATCH, RawRow, data_files

JSON = (".json", ".jsonl", ".ndjson")
CSV = (".csv", ".tsv")


class Shelf(Protocol):
    """Takes rows one after another."""

    def put(self, row: RawRow, changed: bool) -> None:
        """Add a row; as it is written in its file unless it was changed."""

    def close(self) -> None:
        """Write what must stand at the end."""


@contextmanager
def open_shelf(source: Path, out: Path) -> Iterator[Shelf]:
    """A shelf for the rows of `source` that becomes `out` at the end, and nothing where an error comes first."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            shelf = _open(source, out.suffix.lower(), partial, stack)
            yield shelf
            shelf.close()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def check_kind(source: Path, out: Path) -> None:
    """Raise ConfigError unless the rows of `source` can be written to a file named as `out` is."""
    kinds = {file.suffix.lower() for file in data_files(source)}
    may = [".parquet"] if ".parquet" in kinds else [*JSON, *(CSV if kinds <= set(CSV) else ())]
    if out.suffix.lower() not in may or (".parquet" in kinds and len(kinds) > 1):
        raise ConfigError(f"--fix {out}: the rows of {source} are written to {' '.join(may)}. Name such a file")


def _open(source: Path, suffix: str, partial: Path, stack: ExitStack) -> Shelf:
    if suffix == ".parquet":
        return _Parquet(source, partial, stack)
    file = stack.enter_context(partial.open("w", encoding="utf-8", newline=""))
    if suffix in CSV:
        return _Csv(file, "\t" if suffix == ".tsv" else ",")
    return _Array(file) if suffix == ".json" else _Lines(file)


def _text(row: RawRow, changed: bool) -> str:
    return row.text if row.text and not changed else json.dumps(row.value, ensure_ascii=False)


class _Lines:
    """One record a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def put(self, row: RawRow, changed: bool) -> None:
        """Add a row; one written over several lines is written anew."""
        self._file.write(_text(row, changed or "\n" in row.text) + "\n")

    def close(self) -> None:
        """Nothing stands at the end."""


class _Array:
    """All records in one array, one after another."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._opening = "[\n"

    def put(self, row: RawRow, changed: bool) -> None:
        """Add a row behind a comma."""
        self._file.write(self._opening + _text(row, changed))
        self._opening = ",\n"

    def close(self) -> None:
        """The closing bracket."""
        self._file.write("\n]\n" if self._opening != "[\n" else "[]\n")


class _Csv:
    """A table; its header is the columns of the first row."""

    def __init__(self, file: TextIO, delimiter: str) -> None:
        self._writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self._columns: list[str] = []

    def put(self, row: RawRow, changed: bool) -> None:
        """Add a row's cells. Raises ConfigError when it has other columns than the first."""
        value = row.value
        assert isinstance(value, Mapping), "rows of CSV files have columns"
        if not self._columns:
            self._columns = list(value)
            self._writer.writerow(self._columns)
        if list(value) != self._columns:
            raise ConfigError(f"{row.place}: other columns than the first file's. Write to a .jsonl file")
        self._writer.writerow(value.values())

    def close(self) -> None:
        """Nothing stands at the end."""


class _Parquet:
    """A table of the first file's schema, its metadata included."""

    def __init__(self, source: Path, partial: Path, stack: ExitStack) -> None:
        import pyarrow.parquet

        self._schema = pyarrow.parquet.read_schema(data_files(source)[0])
        self._writer = stack.enter_context(pyarrow.parquet.ParquetWriter(partial, self._schema))
        self._rows: list[object] = []

    def put(self, row: RawRow, changed: bool) -> None:
        """Add a row."""
        self._rows.append(row.value)
        if len(self._rows) >= PARQUET_BATCH:
            self._flush()

    def close(self) -> None:
        """The rows that are still held."""
        self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []
