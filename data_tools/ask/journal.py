"""Every answer as it came, beside the file that is made of them: one line each, on the disk before the next is counted.

A process may be killed at any moment: what stands here is never asked again. A last line without its end was being
written then and is cut off.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from llm.errors import Place, RecordError, RunError
from llm.files.owned_files import open_owned

LONGEST_LINE = 16 << 20  # bytes; an answer has a bound, so no line of ours comes near it
LARGEST = 4 << 30  # bytes that are read at once: millions of answers
SUFFIX = ".journal"  # no suffix that a folder of training data is read for


def journal_path(out: Path) -> Path:
    """Where the answers of `out` are kept."""
    return out.with_name(out.name + SUFFIX)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A line: the answer to the question of that key, or why there is none."""

    key: str
    question: str
    answer: str = ""
    failed: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Journal:
    """The open file. It belongs to one process; RunError when another has it or it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_owned(path, "a+") as file:
                self._file = os.dup(file.fileno())
        except OSError as error:
            raise RunError(f"{path}: {error.strerror}. Choose a writable place") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise RunError(f"{path}: another `data ask` is writing it. Wait for it, or choose another OUT") from None
        try:
            self.answers: Mapping[str, str] = _answers(path, self._lines())
        except (RecordError, RunError):
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _lines(self) -> Iterator[bytes]:
        """The lines one by one, cut at LONGEST_LINE; what stands behind the last line break is removed."""
        whole = 0
        with open(self._file, "rb", closefd=False) as stream:
            size = stream.seek(0, os.SEEK_END)
            if size > LARGEST:
                raise RunError(f"{self.path}: holds {size:,} bytes, no journal does. Remove it, or choose another OUT")
            stream.seek(0)
            while (line := stream.readline(LONGEST_LINE)).endswith(b"\n") or len(line) == LONGEST_LINE:
                whole = stream.tell()
                yield line
        os.ftruncate(self._file, whole)

    def add(self, entry: JournalEntry) -> None:
        """Append a line; it is on the disk when this returns. RunError when the disk does not take it."""
        values = {name: value for name, value in asdict(entry).items() if value}
        # A lone surrogate has no UTF-8; backslashreplace writes it as JSON does.
        line = json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(0, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror}. Free space; the same command goes on") from error


def _answers(path: Path, lines: Iterator[bytes]) -> dict[str, str]:
    answers = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            row = None
        key, answer = (row.get("key"), row.get("answer", "")) if isinstance(row, dict) else (None, None)
        if not isinstance(key, str) or not isinstance(answer, str):
            advice = "Remove this line: its question is then asked again"
            raise RecordError(Place(str(path), number), "journal", "damaged", advice)
        if answer:
            answers[key] = answer
    return answers
