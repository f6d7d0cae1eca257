"""JSON text as rows with the line each one starts on, read as a stream: an array, or records one after another.

The content decides, not the suffix: `[` opens an array, a first line that is whole makes it JSONL, anything else is
records written over several lines.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TextIO

from llm.errors import Place, RecordError

CHUNK = 1 << 20  # characters read at a time
_LONGEST_ATOM = 16  # an error this close to the end of what was read may only mean that an atom was cut in two
_SPACE = re.compile(r"[ \t\n\r]*")


class _NotANumber(ValueError):
    """NaN or Infinity, which Python reads and JSON does not have."""


def _refuse(constant: str) -> NoReturn:
    raise _NotANumber(constant)


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def json_rows(path: Path) -> Iterator[tuple[int, object]]:
    """(line, value) of every record. Raises RecordError with line, column and advice where the JSON is broken."""
    with path.open(encoding="utf-8-sig") as file:
        tape = _Tape(str(path), file)
        first = tape.peek()
        if first == "[":
            yield from _array(tape)
        elif first and _is_lines(path):
            yield from _lines(path)
        else:
            while tape.peek():
                yield tape.line, tape.value()


@dataclass(slots=True)
class _Tape:
    """The unread rest of a file, a chunk at a time, and the place where it stands."""

    path: str
    file: TextIO
    buffer: str = ""
    at: int = 0  # the next unread character of buffer
    line: int = 1
    column: int = 1

    def peek(self) -> str:
        """The next character that is not white space, which is passed over; empty at the end of the file."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            assert space is not None
            self.advance(space.end())
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._more():
                return ""

    def advance(self, end: int) -> None:
        """Pass over the buffer up to `end`, counting lines."""
        self.line, self.column = self._locate(end)
        self.at = end

    def value(self) -> object:
        """The JSON value that starts here."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if self._is_cut(error) and self._more():
                    continue
                self.fail(error.pos, error.msg)
            except _NotANumber as error:
                advice = "JSON has no such number: write null or remove the field"
                raise RecordError(Place(self.path, self.line), "JSON", f"{error} in this record", advice) from None
            except RecursionError:
                advice = "Records are a few levels deep: correct or remove it"
                raise RecordError(Place(self.path, self.line), "JSON", "nested too deeply", advice) from None
            if end == len(self.buffer) and self._more():
                continue  # a number may go on in what was read just now
            self.advance(end)
            return value

    def fail(self, position: int, message: str) -> NoReturn:
        """Raise RecordError for the record that starts here, with the line and column of what is wrong in it."""
        line, column = self._locate(position)
        raise _broken(Place(self.path, self.line), line, column, message, self.buffer, position)

    def _locate(self, position: int) -> tuple[int, int]:
        breaks = self.buffer.count("\n", self.at, position)
        if not breaks:
            return self.line, self.column + position - self.at
        return self.line + breaks, position - self.buffer.rindex("\n", self.at, position)

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether more text could mend the error. Without this a typo on line 1 would read the whole file."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self.buffer) - _LONGEST_ATOM

    def _more(self) -> bool:
        """Read on, at least doubling what is held, so that a long record costs linear time; False at the end."""
        chunk = self.file.read(max(CHUNK, len(self.buffer) - self.at))
        if chunk:
            self.buffer = self.buffer[self.at :] + chunk
            self.at = 0
        return bool(chunk)


def json_members(path: Path) -> Iterator[tuple[str, int, object]]:
    """(name, line, value) of the members of a file that is one object; a list comes item by item under its name.

    Raises RecordError as `json_rows` does, and where the file is no object.
    """
    with path.open(encoding="utf-8-sig") as file:
        tape = _Tape(str(path), file)
        if tape.peek() != "{":
            raise RecordError(Place(str(path), tape.line), "JSON", "is not an object {...}", "Name the format it is in")
        tape.advance(tape.at + 1)
        more = tape.peek() != "}"
        while more:
            name = _name(tape)
            if tape.peek() == "[":
                yield from ((name, line, item) for line, item in _items(tape))
            else:
                yield name, tape.line, tape.value()
            more = _goes_on(tape, "}")
        _close(tape)
        if tape.peek():
            tape.fail(tape.at, "Extra data")


def _name(tape: _Tape) -> str:
    """The name of the member that starts here, its colon passed over."""
    if tape.peek() != '"':
        tape.fail(tape.at, "Expecting property name enclosed in double quotes")
    name = tape.value()
    assert isinstance(name, str)
    if tape.peek() != ":":
        tape.fail(tape.at, "Expecting ':' delimiter")
    tape.advance(tape.at + 1)
    return name


def _array(tape: _Tape) -> Iterator[tuple[int, object]]:
    yield from _items(tape)
    if tape.peek():
        tape.fail(tape.at, "Extra data")


def _items(tape: _Tape) -> Iterator[tuple[int, object]]:
    """The items of the list that starts here, which is passed over."""
    tape.advance(tape.at + 1)
    more = tape.peek() != "]"
    while more:
        tape.peek()
        yield tape.line, tape.value()
        more = _goes_on(tape, "]")
    _close(tape)


def _goes_on(tape: _Tape, end: str) -> bool:
    """True behind a comma, which is passed over; False before the end."""
    separator = tape.peek()
    if separator not in (",", end):
        tape.fail(tape.at, "Expecting ',' delimiter")
    if separator == ",":
        tape.advance(tape.at + 1)
    return separator == ","


def _close(tape: _Tape) -> None:
    tape.advance(tape.at + 1)


def _is_lines(path: Path) -> bool:
    """True when the first line that is not blank is a whole JSON value."""
    with path.open(encoding="utf-8-sig") as file:
        line = next((line for line in file if line.strip()), "")
    try:
        _DECODER.decode(line)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Extra data")
    except (_NotANumber, RecursionError):
        return True
    return True


def _lines(path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _whole_line(Place(str(path), number), line)


def _whole_line(place: Place, line: str) -> object:
    try:
        return _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise _broken(place, place.line, error.pos + 1, error.msg, line, error.pos) from None
    except _NotANumber as error:
        advice = "JSON has no such number: write null or remove the field"
        raise RecordError(place, "JSON", f"{error} in this record", advice) from None
    except RecursionError:
        raise RecordError(place, "JSON", "nested too deeply", "Records are a few levels deep") from None


def _broken(place: Place, line: int, column: int, message: str, text: str, position: int) -> RecordError:
    found = f"broken at line {line} column {column}: {message}"
    return RecordError(place, "JSON", found, _advice(message, text, position))


def _advice(message: str, text: str, position: int) -> str:
    """What to do about a parser's complaint, from the characters around it."""
    after = text[position : position + 80].lstrip()
    before = text[max(0, position - 80) : position].rstrip()
    if message.startswith("Unterminated string"):
        return "Close the string with a double quote, or complete the file if it was cut off"
    if not after:
        return "The file or line ends inside a record: complete it, it may have been cut off"
    if message.startswith("Extra data"):
        return "Write one record a line, or all records in one array [...]"
    if before.endswith(",") and after[0] in "]}":
        return "Remove the comma before it"
    if after[0] == "'":
        return "JSON strings take double quotes"
    if after.startswith(("True", "False", "None")):
        return "JSON writes true, false and null"
    if after[0] in "/#":
        return "JSON has no comments: remove it"
    if message.startswith("Invalid control character"):
        return "Write a line break inside a string as \\n and a tab as \\t"
    if message.startswith("Invalid \\"):
        return "Write a backslash inside a string as \\\\"
    if "',' delimiter" in message:
        return 'A comma is missing, or a double quote inside a string that must be written as \\"'
    return "Correct the JSON there"


def layout(path: Path) -> Literal["array", "lines", "values"]:
    """How the records stand in a file: in one array, one a line, or one after another over several lines."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = _Tape(str(path), file).peek()
        if first == "[":
            return "array"
        return "lines" if first and _is_lines(path) else "values"
    except UnicodeDecodeError:
        return "values"  # reading the records says where
