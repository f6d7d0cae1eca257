"""Rows of CSV files by the column names in their first row."""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST, bounded_lines
from llm.rows.compressed import open_rows, suffix_of
from llm.rows.csv_dialect import find_dialect
from llm.rows.encodings import find_encoding_error
from llm.rows.json_errors import too_long_error
from llm.rows.json_rows import wide_error
from llm.rows.raw_row import RawRow, broken, place_of

NUMBERS = "Unnamed: 0"
"""What pandas calls a first column without a name, which its `to_csv` writes: the rows' numbers."""


def csv_rows(path: Path) -> Iterator[RawRow]:
    """Yield every row with the line it starts on. A row of other columns is an error, a broken file the last row."""
    if error := wide_error(path):
        yield broken(error)
        return
    delimiter, skipped = csv_delimiter(path)
    with _opened(path) as file:
        lines = _bounded(path, file)
        for _ in range(skipped):
            next(lines)
        try:
            yield from _rows(path, lines, delimiter, skipped)
        except RecordError as error:
            yield broken(error)


def csv_delimiter(path: Path) -> tuple[str, int]:
    """(delimiter of a file, lines before its header): a comma, or a tab in .tsv, unless the first rows show another."""
    with _opened(path) as file:
        return find_dialect(file, "\t" if suffix_of(path) == ".tsv" else ",")


def _opened(path: Path) -> TextIO:
    return TextIOWrapper(open_rows(path), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _rows(path: Path, lines: Iterator[str], delimiter: str, skipped: int) -> Iterator[RawRow]:
    # Of the process, not of the reader: by default a cell over 131,072 characters, such as an image, ends the file.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    line = skipped
    try:
        for cells in rows:
            start, line = line + 1, skipped + rows.line_num
            if not cells:
                continue
            if not header and "" in cells[:1]:
                cells = [NUMBERS, *cells[1:]]
            place, text = Place(str(path), start), delimiter.join(cells)
            error = find_encoding_error(place, text) or _fault(place, header or cells, cells)
            if error is not None:
                yield broken(error, text)
                if not header:
                    return
            elif not header:
                header = cells
            else:
                row = dict(zip(header, cells, strict=True))
                yield RawRow(place_of(str(path), start, row), row)
    except csv.Error as error:
        advice = "Correct the quotes, or write the data as JSONL"
        place = Place(str(path), line + 1)
        found = f"{error} in the row that begins here"
        yield broken(RecordError(place, "CSV", found, advice, "csv-broken"))


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
