"""metrics.jsonl: one JSON object a line. Console, plot, report and pages are made from it."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from llm.errors import RunError
from llm.files.owned_files import open_owned
from llm.files.regular_files import open_regular
from llm.log import logger
from llm.rich_console import Bars, Screen, TimeLeft, clock
from llm.track.metrics_tail import METRICS
from llm.track.metrics_tail import MetricsLine as MetricsLine

NAME = METRICS
NOT_SHOWN = ("kind", "step", "step_seconds", "time")  # the speed is there as tokens_per_s
LONGEST = 1 << 20  # bytes of a line: a thousand times what one takes
DAMAGED = "Remove the damaged lines, or the file: only curves and reports are made from it"


class RunLog:
    """Appends to metrics.jsonl and logs the figures; on a terminal a progress bar stays below these lines."""

    def __init__(
        self, folder: Path, total: int, done: int, keep_bytes: int, written: Callable[[], None] | None = None
    ) -> None:
        """`total` and `done` are steps. Lines after `keep_bytes` are of steps that are repeated; they are cut off.

        `written` is called after every line.
        """
        self.path = folder / NAME
        self._stream = open_owned(self.path, "a+")
        self._stream.seek(0)
        kept = _complete_lines(self._stream.buffer.read(keep_bytes), keep_bytes, self.path)
        self._stream.truncate(min(keep_bytes, kept))
        shown = sys.stdout.isatty() and logger.isEnabledFor(logging.INFO)
        self._bar = Bars(Screen(soft_wrap=True), noun="step", disable=not shown)
        self._task = self._bar.add_task(folder.name, total=total, completed=done)
        self._left = TimeLeft(done)
        self._written = written
        self.total = total

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._stream.close()

    def write(self, line: MetricsLine) -> None:
        """Append a line and show its figures."""
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
        if self._written:
            self._written()
        left = f"  left {clock(self._left.seconds(self.total))}" if line["kind"] == "train" else ""
        logger.info(f"{line['kind']:>10} {line['step']:>6}/{self.total}  {format_metrics(line)}{left}")

    def advance(self, step: int) -> None:
        """Move the progress bar, and estimate the time left anew."""
        self._left.update(step)
        self._bar.update(self._task, completed=step)

    def position(self) -> int:
        """Bytes written and synced so far, for a checkpoint."""
        os.fsync(self._stream.fileno())
        return os.fstat(self._stream.fileno()).st_size


class NullLog:
    """The log of every process but the first: writes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, line: MetricsLine) -> None:
        """Nothing."""

    def advance(self, step: int) -> None:
        """Nothing."""

    def position(self) -> int:
        """Nothing was written."""
        return 0


def _complete_lines(found: bytes, expected: int, path: Path) -> int:
    """Bytes up to the last complete line. Truncating a shorter file to `expected` would fill it with zeros."""
    if len(found) < expected:
        logger.warning(
            f"{path}: holds {len(found):,} bytes of the {expected:,} that the checkpoint counts; older metrics are lost"
        )
    return found.rfind(b"\n") + 1


def format_metrics(line: MetricsLine) -> str:
    """The figures of a line as text."""
    return "  ".join(f"{key} {_short(value)}" for key, value in line.items() if key not in NOT_SHOWN)


def _short(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"


def read_metrics(folder: Path, kind: str = "") -> list[MetricsLine]:
    """The metrics of a run, of one kind or all; also while it is being trained. RunError for a damaged file."""
    lines = []
    for number, (text, line) in enumerate(iter_metrics(folder), 1):
        if line is None:
            raise RunError(f"{folder / NAME}:{number}: is not a line of metrics: {text[:40]!r}. {DAMAGED}")
        lines.append(line)
    return [line for line in lines if not kind or line["kind"] == kind]


def iter_metrics(folder: Path) -> Iterator[tuple[bytes, MetricsLine | None]]:
    """Every line of a run's metrics as bytes and as figures; None for a line that is not an object with a `kind`.

    Raises RunError for a file that cannot be read.
    """
    path = folder / NAME
    try:
        with open_regular(path) as stream:
            yield from _lines(stream, path)
    except (FileNotFoundError, NotADirectoryError):  # no metrics yet, or deleted meanwhile
        return
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. {DAMAGED}") from error


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[bytes, MetricsLine | None]]:
    """Every complete line; what follows the last line break is being written."""
    number = 0
    while (line := stream.readline(LONGEST)).endswith(b"\n"):
        number += 1
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        yield line, found if isinstance(found, dict) and isinstance(found.get("kind"), str) else None
    if len(line) == LONGEST:
        raise RunError(f"{path}:{number + 1}: a line of more than {LONGEST:,} bytes is not of metrics. {DAMAGED}")


def now() -> float:
    """Seconds since 1970, to the millisecond."""
    return round(time.time(), 3)
