"""The journal of `data ask`: every answer as a JSON line beside the output file, synced to disk before it counts.

The process may be killed at any time; a question answered in the journal is not sent again. A last line without a line
break was interrupted while it was written and is removed.
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

LONGEST_LINE = 16 << 20  # bytes; answers are bounded, so no valid line comes near it
LARGEST = 4 << 30  # bytes of a journal: millions of answers
SUFFIX = ".journal"  # not a suffix by which a folder's data files are found


def journal_path(out: Path) -> Path:
    """The journal of the output file `out`."""
    return out.with_name(out.name + SUFFIX)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A line: the answer to the question with this key, or the reason why it failed."""

    key: str
    question: str
    answer: str = ""
    failed: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Journal:
    """An open journal, locked for this process. RunError when another process has it or it cannot be written."""

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
            raise RunError(f"{path}: is in use by another `data ask`. Wait for it, or choose another OUT") from None
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
        """The lines, cut at LONGEST_LINE; text after the last line break is removed from the file."""
        end = 0
        with open(self._file, "rb", closefd=False) as stream:
            size = stream.seek(0, os.SEEK_END)
            if size > LARGEST:
                found = f"{self.path}: has {size:,} bytes, too many for a journal"
                raise RunError(f"{found}. Remove it, or choose another OUT")
            stream.seek(0)
            while (line := stream.readline(LONGEST_LINE)).endswith(b"\n") or len(line) == LONGEST_LINE:
                end = stream.tell()
                yield line
        os.ftruncate(self._file, end)

    def add(self, entry: JournalEntry) -> None:
        """Append a line and sync it to disk. RunError when it cannot be written."""
        values = {name: value for name, value in asdict(entry).items() if value}
        # A lone surrogate has no UTF-8; backslashreplace writes it as JSON does.
        line = json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(0, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror}. Free disk space and run the same command") from error


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
