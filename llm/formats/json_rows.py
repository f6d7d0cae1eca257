"""JSON text as rows with the line each one starts on, read as a stream: an array, or records one after another.

The content decides, not the suffix: `[` opens an array, a line that is whole makes it JSONL, anything else is
records written over several lines. Training stops at the first broken record; the data tools go on behind it.
"""

import json
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

from llm.errors import Place
from llm.files.bounded_lines import LONGEST, bounded_lines
from llm.files.regular_files import open_data
from llm.formats.json_errors import syntax_error, too_long_error, unreadable_error
from llm.formats.json_stream import DECODER, JsonRecord, JsonStream, encoding_error, find_encoding_error

SHOWN = 1000  # characters that are kept of a line that is too long
_LOOK = 10  # lines in which a whole record is looked for, since the first may be the broken one


def json_rows(path: Path) -> Iterator[tuple[int, object]]:
    """(line, value) of every record. Raises RecordError with line, column and advice where the JSON is broken."""
    for record in json_records(path):
        if record.error is not None:
            raise record.error
        yield record.line, record.value


def json_records(path: Path) -> Iterator[JsonRecord]:
    """Every record, whole or broken. Behind a broken one it goes on with the next that can be told apart.

    Where none can, what is left of the file (16 MB of it at a time) is one broken record.
    """
    with open_data(path) as start:
        if start.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            yield JsonRecord(1, "", error=encoding_error(Place(str(path), 1), "UTF-16"))
            return
    with open_json(path) as file:
        tape = JsonStream(str(path), file)
        first = tape.peek()
        if first == "[":
            yield from _array(tape)
        elif first and _is_lines(path):
            yield from _lines(path)
        else:
            while tape.peek():
                yield tape.record()


def open_json(path: Path) -> TextIO:
    """Bytes that are not UTF-8 become surrogates, for `find_encoding_error` to find in their record."""
    return TextIOWrapper(open_data(path), encoding="utf-8-sig", errors="surrogateescape")


def _array(tape: JsonStream) -> Iterator[JsonRecord]:
    tape.advance(tape.at + 1)
    following = tape.peek()
    while following not in ("]", ""):
        record = tape.record()
        yield record
        following = tape.peek()
        if following == ",":
            tape.advance(tape.at + 1)
            following = tape.peek()
            if following in ("]", ""):
                yield JsonRecord(tape.line, "", error=tape.broken(tape.at, "Expecting value"))
                return
        elif following != "]" and record.error is None:
            yield JsonRecord(tape.line, "", error=tape.broken(tape.at, "Expecting ',' delimiter"))
    yield from _rest(tape, following)


def _rest(tape: JsonStream, following: str) -> Iterator[JsonRecord]:
    """What stands behind an array, where nothing should."""
    if following == "]":
        tape.advance(tape.at + 1)
        if tape.peek():
            yield JsonRecord(tape.line, "", error=tape.broken(tape.at, "Extra data"))


def _is_lines(path: Path) -> bool:
    """True when the first line that is not blank is a whole JSON value, or one of the next is a whole object.

    One that is too long counts as the former: only a file of lines can be read on behind it.
    """
    with open_json(path) as file:
        first, *others = [*islice((line for _, line in bounded_lines(file) if line.strip()), _LOOK), ""]
    return len(first) > LONGEST or _is_whole(first) or any(line.startswith("{") and _is_whole(line) for line in others)


def _is_whole(line: str) -> bool:
    try:
        DECODER.decode(line)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Extra data")
    except (ValueError, RecursionError):
        return True
    return True


def _lines(path: Path) -> Iterator[JsonRecord]:
    with open_json(path) as file:
        for number, line in bounded_lines(file):
            if len(line) > LONGEST:
                place = Place(str(path), number)
                yield JsonRecord(number, line[:SHOWN], error=too_long_error(place))
            elif line.strip():
                yield _whole_line(Place(str(path), number), line.rstrip("\n"))


def _whole_line(place: Place, line: str) -> JsonRecord:
    try:
        return JsonRecord(place.line, line, DECODER.decode(line), find_encoding_error(place, line))
    except json.JSONDecodeError as error:
        fault = syntax_error(place, place.line, error.pos + 1, error.msg, line, error.pos)
    except (ValueError, RecursionError) as error:
        fault = unreadable_error(place, error)
    return JsonRecord(place.line, line, error=find_encoding_error(place, line) or fault)


def json_layout(path: Path) -> Literal["array", "lines", "values"]:
    """How the records stand in a file: in one array, one a line, or one after another over several lines."""
    with open_json(path) as file:
        first = JsonStream(str(path), file).peek()
    if first == "[":
        return "array"
    return "lines" if first and _is_lines(path) else "values"
