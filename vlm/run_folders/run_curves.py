"""The curves of a run, read from its metrics.jsonl once and then as it grows, a bounded time at a call."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.track.metrics_tail import parse_line
from llm.train.metrics import NAME, MetricsLine
from vlm.run_folders.curve_points import Curve
from vlm.run_folders.progress import number_of

SHOWN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "train_loss": ("train", "loss"),
        "valid_loss": ("validation", "loss"),
        "evaluation": ("evaluation", "score"),
        "lr": ("train", "lr"),
        "grad_norm": ("train", "grad_norm"),
        "tokens_per_s": ("train", "tokens_per_s"),
        "memory_gib": ("train", "memory_gib"),
    }
)
"""The curves, each with the kind of line and the key that it is of."""
BLOCK = 1 << 20  # bytes that are read at a time
MARK = 256  # bytes before the place of reading by which a file is known again


@dataclass(slots=True)
class RunCurves:
    """The curves of a run by their names in SHOWN."""

    curves: dict[str, Curve] = field(default_factory=lambda: {name: Curve() for name in SHOWN})

    def add(self, line: MetricsLine) -> None:
        """A line of metrics; what is no finite number is left out."""
        for name, (kind, key) in SHOWN.items():
            if kind == line["kind"] and (value := number_of(line, key)) is not None:
                self.curves[name].add(line["step"], value)


class CurveFile:
    """Reads metrics.jsonl of a run folder. A file that was cut off or replaced is read again from its beginning."""

    def __init__(self, run: Path) -> None:
        self.run = RunCurves()
        self.generation = 0  # how often it was begun again
        self.share = 0.0  # of the file that was read
        self.offset = 0
        self._path, self._mark = run / NAME, b""

    def read(self, until: float) -> None:
        """Read one block at least, and more until that time (time.monotonic) or the end of the file.

        Raises RunError for a file that cannot be read.
        """
        while self._read_block() and time.monotonic() < until:
            pass

    def _read_block(self) -> bool:
        """Whether there is more to read."""
        try:
            with open_regular(self._path) as stream:
                size = stream.seek(0, 2)
                stream.seek(self.offset - len(self._mark))
                if stream.read(len(self._mark)) != self._mark:
                    self._begin_again()
                stream.seek(self.offset)
                found = stream.read(BLOCK)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RunError(f"{self._path}: cannot be read: {error.strerror}. Check the disk") from error
        complete = found.rfind(b"\n") + 1
        if not complete and len(found) == BLOCK:
            complete = BLOCK  # no line of training is so long
        for text in found[:complete].splitlines():
            if (line := parse_line(text)) is not None:
                self.run.add(line)
        self.offset += complete
        self._mark = (self._mark + found[:complete])[-MARK:]
        self.share = self.offset / size if len(found) == BLOCK else 1.0
        return len(found) == BLOCK

    def _begin_again(self) -> None:
        self.run, self.offset, self._mark = RunCurves(), 0, b""
        self.generation += 1
