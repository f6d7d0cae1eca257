"""Read the records of a JSON file as a stream, with the line on which each starts.

The layout follows from the content, not the suffix: a file that begins with `[` is an array, one with a complete value
on a line is JSONL, any other holds records over several lines. Training stops at the first invalid record; the data
tools continue after it.
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

SHOWN = 1000  # characters of a line that is too long that are returned
_LOOK = 10  # lines in which a complete record is looked for, since the first may be invalid


def json_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Yield (line, value) of every record. Raises RecordError with line, column and advice for invalid JSON."""
    for record in json_records(path):
        if record.error is not None:
            raise record.error
        yield record.line, record.value


def json_records(path: Path) -> Iterator[JsonRecord]:
    """Yield every record, valid or not. After an invalid one it continues with the next that can be found.

    Where none is found, the rest of the file (at most 16 MB) is one invalid record.
    """
    with open_data(path) as start:
        if start.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            yield JsonRecord(1, "", error=encoding_error(Place(str(path), 1), "UTF-16"))
            return
    with open_json(path) as file:
        stream = JsonStream(str(path), file)
        first = stream.peek()
        if first == "[":
            yield from _array(stream)
        elif first and _is_lines(path):
            yield from _lines(path)
        else:
            while stream.peek():
                yield stream.record()


def open_json(path: Path) -> TextIO:
    """The file as text; bytes that are not UTF-8 become surrogates, which `find_encoding_error` finds."""
    return TextIOWrapper(open_data(path), encoding="utf-8-sig", errors="surrogateescape")


def _array(stream: JsonStream) -> Iterator[JsonRecord]:
    stream.advance(stream.at + 1)
    following = stream.peek()
    while following not in ("]", ""):
        record = stream.record()
        yield record
        following = stream.peek()
        if following == ",":
            stream.advance(stream.at + 1)
            following = stream.peek()
            if following in ("]", ""):
                yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Expecting value"))
                return
        elif following != "]" and record.error is None:
            yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Expecting ',' delimiter"))
    yield from _rest(stream, following)


def _rest(stream: JsonStream, following: str) -> Iterator[JsonRecord]:
    """An error for text after the end of an array."""
    if following == "]":
        stream.advance(stream.at + 1)
        if stream.peek():
            yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Extra data"))


def _is_lines(path: Path) -> bool:
    """Whether the first line that is not blank is a complete JSON value, or one of the next a complete object.

    True too if the first line is too long: only JSONL can be read after it.
    """
    with open_json(path) as file:
        first, *others = [*islice((line for _, line in bounded_lines(file) if line.strip()), _LOOK), ""]
    return (
        len(first) > LONGEST
        or _is_complete(first)
        or any(line.startswith("{") and _is_complete(line) for line in others)
    )


def _is_complete(line: str) -> bool:
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
                yield _parse_line(Place(str(path), number), line.rstrip("\n"))


def _parse_line(place: Place, line: str) -> JsonRecord:
    try:
        return JsonRecord(place.line, line, DECODER.decode(line), find_encoding_error(place, line))
    except json.JSONDecodeError as cause:
        error = syntax_error(place, place.line, cause.pos + 1, cause.msg, line, cause.pos)
    except (ValueError, RecursionError) as cause:
        error = unreadable_error(place, cause)
    return JsonRecord(place.line, line, error=find_encoding_error(place, line) or error)


def json_layout(path: Path) -> Literal["array", "lines", "values"]:
    """Layout of the records in a file: one array, one per line, or values over several lines."""
    with open_json(path) as file:
        first = JsonStream(str(path), file).peek()
    if first == "[":
        return "array"
    return "lines" if first and _is_lines(path) else "values"
