"""metrics.jsonl: one JSON object a line. Console, plot, report and pages are made from it."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from llm.errors import RunError
from llm.files.atomic_files import atomic_file
from llm.files.owned_files import open_owned
from llm.files.regular_files import open_regular
from llm.log import logger
from llm.rich_console import Bars, Screen

Row = dict[str, Any]
NAME = "metrics.jsonl"
LONGEST = 1 << 20  # bytes of a row: a thousand times what one takes
DAMAGED = "Remove what is no row, or the whole file: only curves are drawn from it"


class RunLog:
    """Appends rows to metrics.jsonl and shows them: a progress bar on a terminal, plain lines elsewhere."""

    def __init__(self, folder: Path, total: int, done: int, keep_bytes: int) -> None:
        """Rows behind `keep_bytes` belong to steps that a resume repeats; they are cut off."""
        self.path = folder / NAME
        self._stream = open_owned(self.path, "a+")
        self._stream.seek(0)
        kept = _whole_rows(self._stream.buffer.read(keep_bytes), keep_bytes, self.path)
        self._stream.truncate(min(keep_bytes, kept))
        self._bar = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Screen(soft_wrap=True),
            disable=not (sys.stdout.isatty() and logger.isEnabledFor(logging.INFO)),
        )
        self._task = self._bar.add_task(folder.name, total=total, completed=done, note="")
        self.total = total

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._stream.close()

    def write(self, row: Row) -> None:
        """Append one row and show it."""
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()
        note = shown(row)
        if self._bar.disable or row["kind"] != "train":
            logger.info(f"{row['kind']:>10} {row['step']:>6}/{self.total}  {note}")
        else:
            self._bar.update(self._task, note=note)

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def position(self) -> int:
        """Bytes written so far: what a checkpoint remembers."""
        os.fsync(self._stream.fileno())
        return os.fstat(self._stream.fileno()).st_size


class NullLog:
    """The log of a process that does not speak for the run: the first one writes what all have done together."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, row: Row) -> None:
        """Nothing."""

    def advance(self, step: int) -> None:
        """Nothing."""

    def position(self) -> int:
        """Nothing was written."""
        return 0


def _whole_rows(found: bytes, expected: int, path: Path) -> int:
    """Bytes up to the last whole row. Truncating a shorter file to `expected` would fill it with zeros."""
    if len(found) < expected:
        logger.warning(
            f"{path}: holds {len(found):,} bytes of the {expected:,} that the checkpoint counts; older rows are lost"
        )
    return found.rfind(b"\n") + 1


def shown(row: Row) -> str:
    """A row's figures in one line."""
    return "  ".join(f"{key} {_short(value)}" for key, value in row.items() if key not in ("kind", "step", "time"))


def _short(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"


def read_rows(folder: Path, kind: str = "") -> list[Row]:
    """The rows of a run, of one kind or all; also while it is being written. RunError for a damaged file."""
    rows = []
    for number, (line, row) in enumerate(each_row(folder), 1):
        if row is None:
            raise RunError(f"{folder / NAME}:{number}: is no row of a run: {line[:40]!r}. {DAMAGED}")
        rows.append(row)
    return [row for row in rows if not kind or row["kind"] == kind]


def each_row(folder: Path) -> Iterator[tuple[bytes, Row | None]]:
    """Every line of a run's metrics and the row it is, None for what is none: it has to be an object with a kind.

    RunError for a file that cannot be read.
    """
    path = folder / NAME
    try:
        with open_regular(path) as stream:
            yield from _lines(stream, path)
    except (FileNotFoundError, NotADirectoryError):  # not begun, or deleted while somebody looked at it
        return
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. {DAMAGED}") from error


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[bytes, Row | None]]:
    """Every complete line; what follows the last line break is still being written."""
    number = 0
    while (line := stream.readline(LONGEST)).endswith(b"\n"):
        number += 1
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield line, row if isinstance(row, dict) and isinstance(row.get("kind"), str) else None
    if len(line) == LONGEST:
        raise RunError(f"{path}:{number + 1}: a line of more than {LONGEST:,} bytes is no row of a run. {DAMAGED}")


def plot_loss(folder: Path) -> None:
    """Write loss.png: training and validation loss and the learning rate over the steps."""
    from matplotlib.figure import Figure

    train, validation = read_rows(folder, "train"), read_rows(folder, "validation")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    loss = figure.add_subplot()
    loss.plot([row["step"] for row in train], [row["loss"] for row in train], label="training", linewidth=1.2)
    if validation:
        steps = [row["step"] for row in validation]
        loss.plot(steps, [row["loss"] for row in validation], "o-", label="validation", markersize=4)
    loss.set(xlabel="optimizer step", ylabel="loss per target", title=folder.name)
    if train and min(row["loss"] for row in train) > 0:
        loss.set_yscale("log")
    loss.grid(alpha=0.3)
    loss.legend(loc="upper right")
    rate = loss.twinx()
    rate.plot([row["step"] for row in train], [row["lr"] for row in train], color="grey", alpha=0.4, linewidth=1)
    rate.set_ylabel("learning rate", color="grey")
    with atomic_file(folder / "loss.png") as partial:
        figure.savefig(partial, dpi=120, format="png")


def now() -> float:
    """Seconds since 1970, to the millisecond."""
    return round(time.time(), 3)
