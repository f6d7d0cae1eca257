"""The losses of jobs and runs for their rows: read once, then only what is new."""

import math
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

from llm.errors import RunError
from vlm.run_folders.run_curves import CurveFile
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_events, sampled_metrics
from vlm.service.store.rows import Event

POINTS = 48  # at least so many are shown of a long run, and at most twice as many
REMEMBERED = 1000  # jobs and runs
PAGE = 500  # events read at a time
READ_S = 0.1  # for so long a call reads a file of metrics
LOSS = "train_loss"


@dataclass(slots=True)
class _Losses:
    """Steps and losses, `gap` steps apart or more; the last one is always the newest."""

    points: list[tuple[int, float]] = field(default_factory=list)
    gap: int = 1
    place: int = 0  # the order of the last event that was read

    @property
    def values(self) -> list[float]:
        return [loss for _, loss in self.points]

    def add(self, place: int, data: dict[str, object]) -> None:
        self.place = place
        step, loss = data.get("step"), data.get("loss")
        if data.get("kind") != "train" or not isinstance(step, int):
            return
        if not isinstance(loss, int | float) or not math.isfinite(loss):
            return
        if len(self.points) > 1 and self.points[-1][0] < self.points[-2][0] + self.gap:
            self.points.pop()
        self.points.append((step, loss))
        if len(self.points) > 2 * POINTS:
            del self.points[1::2]
            self.gap = max(self.gap + 1, (self.points[-1][0] - self.points[0][0]) // len(self.points))

    def take(self, events: list[Event]) -> None:
        for event in events:
            self.add(event.sequence, event.data if event.kind == "metrics" else {})


class LossCache:
    """The training losses of what was looked at last. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, threading.Lock()
        self._known: OrderedDict[str, _Losses] = OrderedDict()
        self._files: OrderedDict[str, tuple[CurveFile, threading.Lock]] = OrderedDict()

    def of_job(self, job: str) -> list[float]:
        """The losses of a job up to now, thinned out."""
        with self._lock:
            found = self._find(job)
            if not found.place:
                for place, data in sampled_metrics(self._database, job, POINTS):
                    found.add(place, data)
                if len(found.points) >= POINTS:
                    found.gap = max(1, (found.points[-1][0] - found.points[0][0]) // len(found.points))
            more = True
            while more:
                events, more = list_events(self._database, job, PAGE, after=found.place)
                found.take(events)
            return found.values

    def of_run(self, run: OutsideRun) -> list[float]:
        """The losses of a run that is no job, of a very long one as far as it was read: the rest at the next calls.

        Those that were read where the rest cannot be. Others wait for this run's file alone.
        """
        with self._lock:
            file, lock = self._files.setdefault(run.id, (CurveFile(run.folder, (LOSS,), POINTS), threading.Lock()))
            self._files.move_to_end(run.id)
            while len(self._files) > REMEMBERED:
                self._files.popitem(last=False)
        with lock:
            with suppress(RunError):
                file.read(time.monotonic() + READ_S)
            curve = file.run.curves[LOSS]
            means = [value for _, value in curve.means()]
            return [*means[:-1], curve.last[1]] if curve.last is not None else []

    def _find(self, name: str) -> _Losses:
        found = self._known.setdefault(name, _Losses())
        self._known.move_to_end(name)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found
