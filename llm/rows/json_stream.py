"""Read a JSON file value by value, with the line of each value and of each error."""

import json
import re
from dataclasses import dataclass
from typing import NoReturn, TextIO

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST
from llm.rows.encodings import find_encoding_error
from llm.rows.json_errors import NotANumber, RepeatedKey, syntax_error, too_long_error, unreadable_error

CHUNK = 1 << 20  # characters read at a time
FAR = 16 << 20  # characters that are searched for the next record after an invalid one
_LONGEST_ATOM = 16  # characters; an error this close to the end of the buffer may come from a value that was cut
_SPACE = re.compile(r"[ \t\n\r]*")
_INDENT = re.compile(r"[ \t\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _refuse(constant: str) -> NoReturn:
    raise NotANumber(constant)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of these keys. Raises RepeatedKey for a key with two values, of which Python would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise RepeatedKey(repr(key))
    return found


DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """One record of a file: the line it starts on, its text, and its value or its error."""

    line: int
    text: str
    value: object = None
    error: RecordError | None = None


@dataclass(slots=True)
class JsonStream:
    """A file that is read in chunks, and the position in it."""

    path: str
    file: TextIO
    buffer: str = ""
    at: int = 0  # the next unread character of buffer
    line: int = 1
    column: int = 1

    def peek(self) -> str:
        """Skip white space and return the next character without reading it; empty at the end of the file."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            assert space is not None
            self.advance(space.end())
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._read_chunk():
                return ""

    def advance(self, end: int) -> None:
        """Move the position to the index `end` of the buffer."""
        self.line, self.column = self._locate(end)
        self.at = end

    def value(self) -> object:
        """Read the JSON value that starts here. Raises RecordError if it is invalid."""
        place = Place(self.path, self.line)
        value, text = self._read()
        if error := find_encoding_error(place, text):
            raise error
        return value

    def record(self) -> JsonRecord:
        """Read the record that starts here. After an invalid one the position is where the next may start."""
        line, indent = self.line, self._indent()
        try:
            value, text = self._read()
        except RecordError as error:
            return JsonRecord(line, self._skip(indent), error=error)
        return JsonRecord(line, text, value, find_encoding_error(Place(self.path, line), text))

    def _indent(self) -> int | None:
        """Columns of white space before a record at the start of its line; None for any other record."""
        start = self.at - self.column + 1
        # By a pattern, which ends at the first other character: a file may be one line of a million records.
        return self.column - 1 if start >= 0 and _INDENT.fullmatch(self.buffer, start, self.at) else None

    def _read(self) -> tuple[object, str]:
        while True:
            place = Place(self.path, self.line)
            try:
                value, end = DECODER.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if self._may_be_incomplete(error) and self._read_chunk():
                    if len(self.buffer) > LONGEST:
                        raise too_long_error(place) from None
                    continue
                self.fail(error.pos, error.msg)
            except (ValueError, RecursionError) as error:
                raise unreadable_error(place, error) from None
            if end == len(self.buffer) and self._read_chunk():
                continue  # a number may continue in the new chunk
            text = self.buffer[self.at : end]
            self.advance(end)
            return value, text

    def fail(self, position: int, message: str) -> NoReturn:
        """Raise RecordError for the record that starts here, with line and column of `position`."""
        raise self.broken(position, message)

    def broken(self, position: int, message: str) -> RecordError:
        """The error at `position` of the record that starts here, with its line and column."""
        line, column = self._locate(position)
        return syntax_error(Place(self.path, self.line), line, column, message, self.buffer, position)

    def _skip(self, indent: int | None) -> str:
        """Skip an invalid record and return its text.

        A record at the start of a line ends before the next line with `{` in the same column, any other where its
        brackets are closed. Where neither is found within FAR characters the rest of the buffer is skipped.
        """
        searched = self.at
        while True:
            end = self._closed() if indent is None else self._next_opening(indent, searched)
            if end is not None or len(self.buffer) - self.at > FAR:
                break
            searched = max(self.at, len(self.buffer) - 1000)
            offset = searched - self.at
            if not self._read_chunk():
                break
            searched = self.at + offset
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

    def _may_be_incomplete(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may vanish with more text. Other errors do not make the rest of the file be read."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self.buffer) - _LONGEST_ATOM

    def _read_chunk(self) -> bool:
        """Read a chunk at least as long as the unread text, so that long records take linear time; False at the end."""
        chunk = self.file.read(max(CHUNK, len(self.buffer) - self.at))
        if chunk:
            self.buffer = self.buffer[self.at :] + chunk
            self.at = 0
        return bool(chunk)
