"""The curves of a run, read from its metrics.jsonl once and then as it grows, a bounded time at a call."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.track.metrics_tail import parse_line
from llm.train.metrics import NAME, MetricsLine
from vlm.run_folders.curve_points import MOST_BUCKETS, Curve
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


class RunCurves:
    """The curves of a run by their names in SHOWN, or some of them."""

    def __init__(self, names: Iterable[str] = SHOWN, buckets: int = MOST_BUCKETS) -> None:
        self.curves = {name: Curve(buckets) for name in names}

    def add(self, line: MetricsLine) -> None:
        """A line of metrics; what is no finite number is left out."""
        for name, curve in self.curves.items():
            kind, key = SHOWN[name]
            if kind == line["kind"] and (value := number_of(line, key)) is not None:
                curve.add(line["step"], value)


@dataclass(slots=True)
class Block:
    """Neighbouring lines of a file: their bytes, and the lowest and the highest step among them."""

    start: int
    end: int
    low: float = math.inf
    high: float = -math.inf


class CurveFile:
    """Reads metrics.jsonl of a run folder. A file that was cut off or replaced is read again from its beginning."""

    def __init__(self, run: Path, names: Iterable[str] = SHOWN, buckets: int = MOST_BUCKETS) -> None:
        """`names`: of the curves that are wanted; `buckets`: of each at most."""
        self._names, self._buckets = tuple(names), buckets
        self.run = RunCurves(self._names, buckets)
        self.generation = 0  # how often it was begun again
        self.share = 0.0  # of the file that was read
        self.offset = 0
        self.blocks: list[Block] = []  # of what was read, in order
        self.path, self._mark = run / NAME, b""

    def read(self, until: float) -> None:
        """Read one block at least, and more until that time (time.monotonic) or the end of the file.

        Raises RunError for a file that cannot be read.
        """
        while self._read_block() and time.monotonic() < until:
            pass

    def _read_block(self) -> bool:
        """Whether there is more to read."""
        try:
            with open_regular(self.path) as stream:
                size = stream.seek(0, 2)
                stream.seek(self.offset - len(self._mark))
                if stream.read(len(self._mark)) != self._mark:
                    self._begin_again()
                stream.seek(self.offset)
                found = stream.read(BLOCK)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read: {error.strerror}. Check the disk") from error
        complete = found.rfind(b"\n") + 1
        if not complete and len(found) == BLOCK:
            complete = BLOCK  # no line of training is so long
        block = self._block(complete)
        for text in found[:complete].splitlines():
            if (line := parse_line(text)) is not None:
                self.run.add(line)
                block.low, block.high = min(block.low, line["step"]), max(block.high, line["step"])
        self.offset += complete
        self._mark = (self._mark + found[:complete])[-MARK:]
        self.share = self.offset / size if len(found) == BLOCK else 1.0
        return len(found) == BLOCK

    def _block(self, size: int) -> Block:
        """The block of the next `size` bytes; a small one goes on, so that a growing file has not one for each look."""
        if self.blocks and self.offset + size - self.blocks[-1].start <= BLOCK:
            self.blocks[-1].end = self.offset + size
        else:
            self.blocks.append(Block(self.offset, self.offset + size))
        return self.blocks[-1]

    def _begin_again(self) -> None:
        self.run, self.offset, self._mark = RunCurves(self._names, self._buckets), 0, b""
        self.blocks = []
        self.generation += 1
