"""Runs that `eyegraft train` has started by itself: they are watched in their folders, and never steered."""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm.errors import RunError, ServiceError
from llm.files.writer_lock import LOCK, writer_of
from llm.train.metrics import NAME as METRICS
from vlm.run_folders.find import find_folders
from vlm.run_folders.metrics_pages import Numbered, lines_after, lines_before
from vlm.run_folders.metrics_tail import MetricsTail
from vlm.run_folders.progress import RunProgress, number_of
from vlm.service.requests import UnknownJobError
from vlm.service.store.event_table import metrics_event
from vlm.service.store.job_table import StateConflictError
from vlm.service.store.rows import Event

PREFIX = "xrun-"
RunState = Literal["running", "finished", "stopped"]
FRESH_S = 2.0  # for so long a list of folders is believed
READ_S = 1.0  # for so long new lines are read at a call; of longer ones the rest is read at the next calls


@dataclass(frozen=True, slots=True)
class OutsideRun:
    """A run that is no job.

    Attributes:
        id: Of the folder, the same as long as it stays where it is.
        name: The folder, from the searched one on.
        state: Whether a process trains there; if not, whether the run has its report.
        writer: That process, and since when; empty where there is none.
        note: Why its metrics cannot be read, or empty.
    """

    id: str
    name: str
    folder: Path
    state: RunState
    writer: str
    created_at: int
    progress: RunProgress
    note: str = ""


class OutsideRuns:
    """The run folders below some folders, those of the service's own jobs left out; threads may share it."""

    def __init__(self, roots: Sequence[Path], own: Path) -> None:
        """`own`: the service's folder."""
        self._roots, self._own = [root.resolve() for root in roots], own.resolve()
        self._lock = threading.Lock()
        self._names: dict[Path, str] = {}
        self._until = 0.0
        self._tails: dict[Path, MetricsTail] = {}

    def all(self) -> list[OutsideRun]:
        """Every run, those that began last first."""
        with self._lock:
            self._search()
            until = time.monotonic() + READ_S
            found = [self._look(folder, until) for folder in self._names]
        return sorted(found, key=lambda run: (-run.created_at, run.name))

    def find(self, name: str) -> OutsideRun:
        """The run of that id. Raises UnknownJobError."""
        with self._lock:
            self._search()
            folder = next((folder for folder in self._names if _id(folder) == name), None)
            if folder is not None:
                return self._look(folder, time.monotonic() + READ_S)
        raise UnknownJobError(f"there is no run {name[:80]!r}; `eyegraft jobs ls` lists them")

    def refuse(self, name: str) -> None:
        """Raise StateConflictError: the service changes no run that it has not started. UnknownJobError for no run."""
        run = self.find(name)
        how = f"It is run by {run.writer}: stop it there, by Ctrl-C or SIGTERM" if run.writer else f"It is {run.state}"
        raise StateConflictError(f"{run.name} was started by `eyegraft train`; the service only watches it. {how}")

    def newest_events(self, run: OutsideRun, limit: int, before: int | None) -> tuple[list[Event], bool]:
        """Lines of a run's metrics as events, newest first; and whether there are more.

        Raises ServiceError for a file that cannot be read.
        """
        with _as_service_error():
            lines, more = lines_before(run.folder, before, limit)
        return [_event(run, line) for line in lines], more

    def events_after(self, run: OutsideRun, after: int, limit: int) -> list[Event]:
        """Lines after an event, oldest first."""
        with _as_service_error():
            return [_event(run, line) for line in lines_after(run.folder, after, limit)]

    def _search(self) -> None:
        if time.monotonic() < self._until:
            return
        found: dict[Path, str] = {}
        for root in self._roots:
            for folder in find_folders(root, (LOCK, METRICS), self._own):
                found.setdefault(folder, (Path(root.name) / folder.relative_to(root)).as_posix())
        self._names, self._until = found, time.monotonic() + FRESH_S
        self._tails = {folder: tail for folder, tail in self._tails.items() if folder in found}

    def _look(self, folder: Path, until: float) -> OutsideRun:
        tail = self._tails.setdefault(folder, MetricsTail(folder, {}))
        writer = note = ""
        try:
            while tail.read() and time.monotonic() < until:
                pass
            writer = writer_of(folder)
        except RunError as error:
            note = str(error)
        state: RunState = "stopped"
        if writer:
            state = "running"
        elif (folder / "report.json").exists():
            state = "finished"
        began = tail.began if tail.began is not None else _changed(folder)
        return OutsideRun(_id(folder), self._names[folder], folder, state, writer, int(began), tail.progress, note)


@contextmanager
def _as_service_error() -> Iterator[None]:
    try:
        yield
    except RunError as error:
        raise ServiceError(str(error)) from error


def _id(folder: Path) -> str:
    return PREFIX + hashlib.sha256(str(folder).encode()).hexdigest()[:24]


def _changed(folder: Path) -> float:
    """When a run without a line of metrics began, as far as its lock file says."""
    try:
        return (folder / LOCK).stat().st_mtime
    except OSError:
        return 0.0


def _event(run: OutsideRun, numbered: Numbered) -> Event:
    place, line = numbered
    message, data = metrics_event(line)
    when = number_of(line, "time")
    return Event(place, run.id, run.created_at if when is None else int(when), "info", "metrics", message, data)
