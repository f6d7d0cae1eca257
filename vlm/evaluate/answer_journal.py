"""The answers of an evaluation while it runs, one JSON line each: a killed evaluation goes on where it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from llm.errors import RunError
from llm.files.owned_files import open_owned
from vlm.evaluate.answerer import Answer


class AnswerJournal:
    """An open journal; `known`: answers that it has, by the number of their prompt.

    The first line holds `key`, a hash of model and prompts: answers under another key are of another evaluation, and
    are removed. A last line that was cut off is removed.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Raises RunError when it cannot be written, or is not a file of this user."""
        self._path = path
        try:
            self._file = open_owned(path, "a+")
            self._file.seek(0)
            first, *lines = [line for line in self._file.read().split("\n") if line] or [""]
            self.known: Mapping[int, Answer] = _answers(lines) if first == _head(key) else {}
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"{_head(key)}\n")
            for number, answer in self.known.items():
                self._file.write(_line(number, answer))
            self._file.flush()
        except OSError as error:
            raise RunError(f"{path}: {error.strerror}. Choose another `out`") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, number: int, answer: Answer) -> None:
        """Store an answer; it survives the end of this process."""
        self._file.write(_line(number, answer))
        self._file.flush()

    def remove(self) -> None:
        """Remove the file: the evaluation is finished."""
        self._path.unlink(missing_ok=True)


def _head(key: str) -> str:
    return json.dumps({"evaluation": key})


def _line(number: int, answer: Answer) -> str:
    row = {"prompt": number, "answer": answer.text, "logprobs": dict(answer.logprobs), "note": answer.note}
    return json.dumps(row) + "\n"  # ASCII: an answer may hold halves of surrogate pairs


def _answers(lines: list[str]) -> dict[int, Answer]:
    """The answers up to the first line that is not one: it was being written when the process ended."""
    found: dict[int, Answer] = {}
    for line in lines:
        try:
            row = json.loads(line)
            found[int(row["prompt"])] = Answer(str(row["answer"]), dict(row["logprobs"]), str(row["note"]))
        except (ValueError, LookupError, TypeError):
            break
    return found
