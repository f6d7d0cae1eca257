"""The curves of jobs and runs that are looked at: read once and then as they grow, a bounded time at a request."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm.errors import RunError
from llm.train.metrics import NAME
from vlm.run_folders.curve_points import Curve
from vlm.run_folders.curve_range import CurveRange
from vlm.run_folders.run_curves import CurveFile, RunCurves
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_events

REMEMBERED = 40  # runs; each takes about 2 MiB
RANGES = 4  # ranges of steps that are remembered of each, as large
PAGE = 1000  # events read at a time
DIGITS = 7  # of the values that browsers get: more than a chart shows


@dataclass(frozen=True, slots=True)
class ReadCurves:
    """The curves of a run as they were read.

    Attributes:
        content: What a browser draws, as JSON.
        stamp: Changes with the content.
        share: Of the metrics that were read; below 1 the rest follows with the next requests.
        values: The curves themselves, to be read only.
        trouble: Why the metrics cannot be read; empty where they can.
    """

    content: str
    stamp: str
    share: float
    values: dict[str, Curve]
    trouble: str = ""


Steps = tuple[int, int]  # the first and the last


@dataclass(slots=True)
class _Known:
    """What was read of a run: of its file, or, where that is gone, of the store's events."""

    file: CurveFile
    stored: RunCurves = field(default_factory=RunCurves)
    sequence: int = 0  # of the last event
    born: int = field(default_factory=time.time_ns)
    made: ReadCurves | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    ranges: OrderedDict[Steps, CurveRange] = field(default_factory=OrderedDict)


class CurveCache:
    """The curves of what was looked at last. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def read(self, run: str, folder: Path, until: float) -> ReadCurves:
        """The curves of a job or run, read on until that time (time.monotonic), and a block of its file at least."""
        known = self._find(run, folder)
        trouble = ""
        with known.lock:
            try:
                known.file.read(until)
            except RunError as error:
                trouble = str(error)
            if (folder / NAME).exists():
                stamp = f"{known.born:x}-{known.file.generation}-{known.file.offset}"
                return _made(known, known.file.run, stamp, known.file.share, trouble)
            self._read_events(known, run)
            return _made(known, known.stored, f"{known.born:x}-e{known.sequence}", 1.0, trouble)

    def read_range(self, run: str, folder: Path, steps: Steps, until: float) -> ReadCurves | None:
        """The curves of some steps in finer buckets, as `read`, which has to come before; None without the run's file.

        A run whose folder is gone has no more points than the store, which are all shown.
        """
        known = self._find(run, folder)
        with known.lock:
            if not (folder / NAME).exists():
                return None
            found = known.ranges.setdefault(steps, CurveRange(known.file, *steps))
            known.ranges.move_to_end(steps)
            while len(known.ranges) > RANGES:
                known.ranges.popitem(last=False)
            try:
                found.read(until)
            except RunError:  # `read` says so
                return None
            stamp = f"{known.born:x}-{found.generation}-{found.offset}-{steps[0]}-{steps[1]}"
            return ReadCurves(_content(found.run, stamp, steps), stamp, found.share, found.run.curves)

    def _read_events(self, known: _Known, run: str) -> None:
        more = True
        while more:
            events, more = list_events(self._database, run, PAGE, after=known.sequence)
            for event in events:
                if event.kind == "metrics":
                    known.stored.add(event.data)
            known.sequence = events[-1].sequence if events else known.sequence

    def _find(self, run: str, folder: Path) -> _Known:
        with self._lock:
            if run not in self._known:
                self._known[run] = _Known(CurveFile(folder))
            self._known.move_to_end(run)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return self._known[run]


def _made(known: _Known, run: RunCurves, stamp: str, share: float, trouble: str) -> ReadCurves:
    """The content is made when there is something new."""
    made = known.made
    if made is None or made.stamp != stamp or made.trouble != trouble:
        made = ReadCurves(_content(run, stamp), stamp, share, run.curves, trouble)
        known.made = made
    return made


def _content(run: RunCurves, stamp: str, steps: Steps | None = None) -> str:
    """What a browser draws.

    `range`: the steps, where these are not all; `x` and `y`: the points; `mx`, `my`: where buckets are several steps,
    their means, which are smoothed.
    """
    curves: dict[str, dict[str, Sequence[float]]] = {}
    for name, curve in run.curves.items():
        points = curve.points()
        if not points:
            continue
        curves[name] = {"x": [step for step, _ in points], "y": [_short(value) for _, value in points]}
        if curve.width > 1:
            means = curve.means()
            curves[name] |= {"mx": [_short(step) for step, _ in means], "my": [_short(value) for _, value in means]}
    within = {"range": steps} if steps else {}
    return json.dumps({"stamp": stamp, **within, "curves": curves}, separators=(",", ":"))


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
