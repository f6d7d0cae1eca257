"""Edit every text of a data file; `data rename` and `data fill` use it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from data_tools.rows.row_output import JSON_FORMS, byte_writer, check_output, json_bytes, row_writer
from llm.errors import ConfigError, Place
from llm.rows.compressed import open_rows, suffix_of
from llm.rows.files import data_files, read_rows
from llm.rows.json_rows import json_layout, json_rows
from llm.rows.raw_row import place_of

FORMS = (".json", ".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
Edit = Callable[[Place, str, str], str]
"""(place, field, text) -> the text to write; the field is a path of keys, such as `messages.content`."""


@dataclass(frozen=True, slots=True)
class EditCounts:
    """How many records a file has, and how many of them were changed."""

    rows: int
    changed: int


def _accept() -> None:
    """Every result is written."""


def edit_texts(
    file: Path,
    out: Path,
    edit: Edit,
    kept: Callable[[str], bool] = lambda key: False,
    check: Callable[[], None] = _accept,
) -> EditCounts:
    """Write `file` to `out`, record by record, with every text edited except those under keys that are `kept`.

    Keys, unchanged lines of a JSONL file and its line ends are preserved byte for byte. `check` is called before `out`
    appears; if it raises there is no file. ConfigError when `out` cannot hold the records or is the input, DataError or
    RecordError when the file cannot be read.
    """
    _check(file, out)
    counts = [0, 0]

    def edited(place: Place, row: object) -> object:
        new = _edited(row, place, "", edit, kept)
        counts[0] += 1
        counts[1] += new != row
        return new

    if suffix_of(file) not in JSON_FORMS or json_layout(file) == "array":
        with row_writer(out, [file]) as write:
            for place, row in read_rows(file):
                write(place, edited(place, row))
            check()
    else:
        pieces = _lines if json_layout(file) == "lines" else _values
        with byte_writer(out) as put:
            for piece in pieces(file, edited):
                put(piece)
            check()
    return EditCounts(*counts)


def _check(file: Path, out: Path) -> None:
    if data_files(file) != [file]:
        raise ConfigError(f"{file}: is a folder. Name one file in it")
    if file.suffix.lower() not in FORMS:
        raise ConfigError(f"{file}: only {' '.join(FORMS)} can be edited. Use an editor for plain text")
    if file.suffix.lower() != out.suffix.lower():
        advice = f"Name the output {file.suffix}, or convert it first: eyegraft data convert"
        raise ConfigError(f"{out}: has another suffix than the input, {file.suffix}. {advice}")
    check_output(out, [file])


def _lines(file: Path, edited: Callable[[Place, object], object]) -> Iterator[bytes]:
    """The lines of an edited JSONL file; line ends and blank lines are preserved."""
    rows = json_rows(file)
    # json_rows raises for bytes that are not UTF-8; here they only have to be passed on.
    with TextIOWrapper(open_rows(file), encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        for line in lines:
            if not line.strip():
                yield line.encode()
                continue
            number, row = next(rows)
            place = place_of(str(file), number, row)
            new = edited(place, row)
            end = line[len(line.rstrip("\r\n")) :]
            yield line.encode() if new == row else json_bytes(place, new) + end.encode()


def _values(file: Path, edited: Callable[[Place, object], object]) -> Iterator[bytes]:
    """Edited records that span several lines, or an object around lists of records."""
    for number, row in json_rows(file):
        place = place_of(str(file), number, row)
        yield json_bytes(place, edited(place, row), indent=1) + b"\n"


def _edited(value: object, place: Place, field: str, edit: Edit, kept: Callable[[str], bool]) -> object:
    if isinstance(value, str):
        return edit(place, field or "text", value)
    if isinstance(value, list):
        return [_edited(item, place, field, edit, kept) for item in value]
    if isinstance(value, dict):
        return {
            key: item if kept(key) else _edited(item, place, f"{field}.{key}".lstrip("."), edit, kept)
            for key, item in value.items()
        }
    return value
