"""A JSON file read as a stream, a value at a time, with the place of each and of what is wrong in it."""

import json
import re
from dataclasses import dataclass
from typing import NoReturn, TextIO

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST
from llm.formats.json_errors import NotANumber, syntax_error, too_long_error, unreadable_error

CHUNK = 1 << 20  # characters read at a time
FAR = 16 << 20  # characters that are searched for the next record behind a broken one
_LONGEST_ATOM = 16  # an error this close to the end of what was read may only mean that an atom was cut in two
_SPACE = re.compile(r"[ \t\n\r]*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of bytes that are not UTF-8
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _refuse(constant: str) -> NoReturn:
    raise NotANumber(constant)


DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """One record as it is written: the line it starts on, its text, and its value or what is wrong with it."""

    line: int
    text: str
    value: object = None
    error: RecordError | None = None


def encoding_error(place: Place, reason: str) -> RecordError:
    """The error of a text in another encoding."""
    return RecordError(place, "encoding", f"not UTF-8 ({reason})", "Save the file as UTF-8", "encoding")


def find_encoding_error(place: Place, text: str) -> RecordError | None:
    """The error of a text that was read with `surrogateescape` and holds bytes that are not UTF-8."""
    found = None if text.isascii() else _NOT_UTF8.search(text)
    return found and encoding_error(place, f"byte 0x{ord(found.group()) - 0xDC00:02x}")


@dataclass(slots=True)
class JsonStream:
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
        """The JSON value that starts here. Raises RecordError where it is broken."""
        place = Place(self.path, self.line)
        value, text = self._read()
        if error := find_encoding_error(place, text):
            raise error
        return value

    def record(self) -> JsonRecord:
        """The record that starts here. A broken one is passed over up to where the next may begin."""
        line, indent = self.line, self._indent()
        try:
            value, text = self._read()
        except RecordError as error:
            return JsonRecord(line, self._pass_over(indent), error=error)
        return JsonRecord(line, text, value, find_encoding_error(Place(self.path, line), text))

    def _indent(self) -> int | None:
        """The white space before a record that opens its line; None for one that stands behind something else."""
        start = self.at - self.column + 1
        return None if start < 0 or self.buffer[start : self.at].strip() else self.column - 1

    def _read(self) -> tuple[object, str]:
        while True:
            place = Place(self.path, self.line)
            try:
                value, end = DECODER.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if self._is_cut(error) and self._more():
                    if len(self.buffer) > LONGEST:
                        raise too_long_error(place) from None
                    continue
                self.fail(error.pos, error.msg)
            except (ValueError, RecursionError) as error:
                raise unreadable_error(place, error) from None
            if end == len(self.buffer) and self._more():
                continue  # a number may go on in what was read just now
            text = self.buffer[self.at : end]
            self.advance(end)
            return value, text

    def fail(self, position: int, message: str) -> NoReturn:
        """Raise RecordError for the record that starts here, with the line and column of what is wrong in it."""
        raise self.broken(position, message)

    def broken(self, position: int, message: str) -> RecordError:
        """What is wrong at `position`, with its line and column."""
        line, column = self._locate(position)
        return syntax_error(Place(self.path, self.line), line, column, message, self.buffer, position)

    def _pass_over(self, indent: int | None) -> str:
        """Pass over a broken record and return its text.

        A record that opens a line ends where the next line opens one in the same column; any other where its brackets
        are closed. Where neither is found nearby the tape goes to the end of the file.
        """
        searched = self.at
        while True:
            end = self._closed() if indent is None else self._next_opening(indent, searched)
            if end is not None or len(self.buffer) - self.at > FAR:
                break
            searched = max(self.at, len(self.buffer) - 1000)
            behind = searched - self.at
            if not self._more():
                break
            searched = self.at + behind
        end = len(self.buffer) if end is None else end
        text = self.buffer[self.at : end]
        self.advance(end)
        return text

    def _next_opening(self, indent: int, searched: int) -> int | None:
        found = re.compile(rf"\n(?=[ \t]{{{indent}}}\{{)").search(self.buffer, searched)
        return found and found.start()

    def _closed(self) -> int | None:
        depth = 0
        for token in _TOKEN.finditer(self.buffer, self.at):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
            if depth <= 0:
                return token.end()
        return None

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
