"""Read the records of a JSON file as a stream, with the line on which each starts.

The layout follows from the content, not the suffix: a file that begins with `[` is an array, unless each line is a list
of its own; one with a complete value on a line is JSONL; any other holds records over several lines. Training stops at
the first invalid record; the data tools continue after it.
"""

import json
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST, bounded_lines
from llm.rows.compressed import open_rows
from llm.rows.encodings import encoding_error, find_encoding_error, wide_encoding
from llm.rows.json_errors import syntax_error, too_long_error, unreadable_error
from llm.rows.json_stream import DECODER, JsonRecord, JsonStream

SHOWN = 1000  # characters of a line that is too long that are returned
_LONGEST_LIST = 1 << 17  # characters of a line that is read to see whether it is a list
_TURNS = (frozenset({"role", "content"}), frozenset({"from", "value"}))
_TURN_KEYS = frozenset({"role", "from"})
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
    if error := wide_error(path):
        yield JsonRecord(1, "", error=error)
        return
    with open_json(path) as file:
        stream = JsonStream(str(path), file)
        first = stream.peek()
        if first == "[" and not _is_list_lines(path):
            yield from _whole(array_records(stream))
            if stream.peek():
                yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Extra data"))
        elif first and (first == "[" or _is_lines(path)):
            yield from _lines(path)
        else:
            while stream.peek():
                yield stream.record()


def wide_error(path: Path) -> RecordError | None:
    """The error of a text file in UTF-16 or UTF-32; None for others."""
    with open_rows(path) as file:
        encoding = wide_encoding(file.read(64))
    return encoding_error(Place(str(path), 1), encoding, encoding) if encoding else None


def open_json(path: Path) -> TextIO:
    """The file as text; bytes that are not UTF-8 become surrogates, which `find_encoding_error` finds."""
    return TextIOWrapper(open_rows(path), encoding="utf-8-sig", errors="surrogateescape")


def array_records(stream: JsonStream) -> Iterator[JsonRecord]:
    """The records of the array that starts here, valid or not; reads past its end."""
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
        elif following != "]" and record.error is None:
            yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Expecting ',' delimiter"))
    if following == "]":
        stream.advance(stream.at + 1)


def _whole(records: Iterator[JsonRecord]) -> Iterator[JsonRecord]:
    """The records of an array; one record, the list of all, where the array is the turns of one conversation."""
    first = next(records, None)
    if first is None:
        return
    if not _is_turn(first.value):
        yield first
        yield from records
        return
    turns = [first, *records]
    if any(turn.error is not None or not _is_turn(turn.value) for turn in turns):
        yield from turns
    else:
        yield JsonRecord(first.line, "", [turn.value for turn in turns])


def _is_turn(value: object) -> bool:
    """Whether a value is one turn of a conversation, rather than a record that has turns."""
    return isinstance(value, dict) and any(turn <= set(value) for turn in _TURNS)


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


def _is_list_lines(path: Path) -> bool:
    """Whether each line is a list, such as the messages of one conversation, rather than the file an array.

    A single line is one conversation if its items are turns.
    """
    with open_json(path) as file:
        lines = iter(lambda: file.readline(_LONGEST_LIST), "")
        first, *others = [*islice((line for line in lines if line.strip()), 2), ""]
    if not first.rstrip().endswith("]"):  # longer than _LONGEST_LIST, or an array over several lines
        return False
    try:
        items = DECODER.decode(first)
    except (ValueError, RecursionError):
        return False
    if others[0].strip():
        return others[0].lstrip().startswith("[")
    return bool(items) and all(isinstance(item, dict) and _TURN_KEYS & set(item) for item in items)


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
        return "lines" if _is_list_lines(path) else "array"
    return "lines" if first and _is_lines(path) else "values"
