"""metrics.jsonl read as it grows, each line once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm.errors import RunError
from llm.files.regular_files import open_regular

MetricsLine = dict[str, Any]  # `kind` (plan, train, validation, evaluation, probe), `step`, `time`, figures by name
METRICS = "metrics.jsonl"
MOST_BYTES = 1 << 22  # read at a time
MOST_STEPS = 1 << 53  # beyond which a float cannot count


class MetricsTail:
    """Reads metrics.jsonl as it grows. A resumed run cuts its end off and writes it again: such lines come once."""

    def __init__(self, run: Path, seen: Mapping[str, int]) -> None:
        """`seen`: for each kind of line the step up to which lines are known already."""
        self._path, self._seen, self._offset = run / METRICS, dict(seen), 0

    def read(self) -> list[MetricsLine]:
        """The lines of later steps than any of their kind before. Raises RunError for a file that cannot be read.

        At most 4 MiB are read at a time: what follows comes with the next call.
        """
        return [line for line in self._next_lines() if self._is_new(line)]

    def _next_lines(self) -> list[MetricsLine]:
        """Every line that was added to the file since the last call, those of steps that are repeated included."""
        try:
            with open_regular(self._path) as stream:
                if stream.seek(0, 2) < self._offset:
                    self._offset = 0
                stream.seek(self._offset)
                found = stream.read(MOST_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"{self._path}: cannot be read: {error.strerror}. Check the disk") from error
        complete = found[: found.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [line for text in complete.splitlines() if (line := parse_line(text))]

    def read_all(self) -> list[MetricsLine]:
        """As `read`, up to the end of the file."""
        found: list[MetricsLine] = []
        before = -1
        while before != self._offset:
            before = self._offset
            found += self.read()
        return found

    def _is_new(self, line: MetricsLine) -> bool:
        new = line["step"] > self._seen.get(line["kind"], -1)
        if new:
            self._seen[line["kind"]] = line["step"]
        return bool(new)


def parse_line(text: bytes) -> MetricsLine | None:
    """A line of metrics.jsonl; None for a text that training does not write."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return None
    return found if type(found.get("step")) is int and 0 <= found["step"] < MOST_STEPS else None
