"""When jobs will have ended: from their plan before the first step, then from their own speed; waiting included.

Recomputed from the store whenever it is asked for, so that it is the same after a restart. None where something is
unknown: the speed of a card before the first step, the queue of an engine that has its own, a job that is paused.
"""

import heapq
import math
import threading
import time
from collections.abc import Mapping, Sequence

from llm.errors import ServiceError
from vlm.service.engines.engine import Engine
from vlm.service.store.attempt_table import startup_seconds
from vlm.service.store.database import Database
from vlm.service.store.live_jobs import WAITING, LiveJob, live_jobs
from vlm.service.store.rows import Job
from vlm.service.store.states import ACTIVE, State

FRESH_S = 1.0  # an estimate is used again for so long
STARTUP_S = 8.0
"""Seconds from an attempt's start to its first step, before one was measured: the CPU time of a tiny model's run, most
of it for imports. `eyegraft train` on one core (AMD EPYC), Python 3.11.7, 2026-11-30."""
AT_WORK = frozenset({State.STARTING, State.RUNNING})
STOPPING = ACTIVE - AT_WORK  # their slots are free in a moment


class Estimates:
    """The estimates of a service's jobs; threads may share it."""

    def __init__(self, database: Database, engines: Mapping[str, Engine]) -> None:
        self._database, self._engines = database, engines
        self._found: dict[str, float] = {}
        self._until, self._lock = -math.inf, threading.Lock()

    def finish(self, job: Job) -> int | None:
        """When a job will have ended, in seconds since 1970 and never in the past; None where that is unknown."""
        if job.state not in AT_WORK | WAITING:
            return None
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = self._estimate(time.time())
                self._until = time.monotonic() + FRESH_S
            found = self._found.get(job.id, math.inf)
        return math.ceil(max(found, time.time())) if math.isfinite(found) else None

    def _estimate(self, now: float) -> dict[str, float]:
        jobs = live_jobs(self._database)
        begins = {name: self._startup(name) for name in {job.engine for job in jobs}}
        found = {job.id: now + seconds_left(job, now, begins[job.engine]) for job in jobs if job.state is State.RUNNING}
        for name, engine in self._engines.items():
            own = [job for job in jobs if job.engine == name]
            if own and not engine.queues:  # the queue of an engine that has its own is not ours to foresee
                found |= finishes(own, _slots(engine), now, begins[name])
        return found

    def _startup(self, engine: str) -> float:
        """Seconds before the first step on an engine: as its attempts took, or as was measured elsewhere."""
        found = startup_seconds(self._database, engine)
        return STARTUP_S if found is None else max(0.0, found)  # the clock may have been set


def _slots(engine: Engine) -> int:
    try:
        return len(engine.probe().slots)
    except ServiceError:
        return 0  # nothing starts there


def finishes(jobs: Sequence[LiveJob], slots: int, now: float, startup: float = 0.0) -> dict[str, float]:
    """When jobs of one engine will have ended, infinite where that is unknown.

    They start as `vlm.service.schedule` starts them where all slots are of one size: in order, the first that has to
    wait before all after it. One that no slots are enough for waits by itself. `startup`: seconds before a first step.
    """
    ends = [(now + seconds_left(job, now, startup), job.processes) for job in jobs if job.state not in WAITING]
    found = {job.id: now + seconds_left(job, now, startup) for job in jobs if job.state in AT_WORK}
    free, begins = slots - sum(held for _, held in ends), now
    heapq.heapify(ends)
    for job in jobs:
        if job.state not in WAITING:
            continue
        if job.processes > slots:
            found[job.id] = math.inf
            continue
        while free < job.processes and ends:
            end, held = heapq.heappop(ends)
            free, begins = free + held, max(begins, end)
        free -= job.processes
        found[job.id] = begins + seconds_left(job, now, startup)
        heapq.heappush(ends, (found[job.id], job.processes))
    return found


def seconds_left(job: LiveJob, now: float, startup: float = 0.0) -> float:
    """Seconds of a job's own training, its start-up included, without waiting.

    Infinite where that is unknown, 0 when it is stopping.
    """
    if job.state in STOPPING:
        return 0.0
    found = job.progress
    if job.state in AT_WORK and found.time is not None and found.time >= (job.started or 0):
        left = found.seconds_left(now)
        return _planned_left(job, now, startup) if left is None else left
    if found.step_seconds is not None and found.steps is not None:
        return max(0.0, startup - _since(job, now)) + found.step_seconds * max(0, found.steps - job.saved)
    return _planned_left(job, now, startup)


def _since(job: LiveJob, now: float) -> float:
    """Seconds since its attempt began."""
    return max(0.0, now - job.started) if job.started is not None else 0.0


def _planned_left(job: LiveJob, now: float, startup: float) -> float:
    if job.planned_seconds is None:
        return math.inf
    steps = job.progress.steps
    share = 1 - job.saved / steps if steps else 1.0
    return max(0.0, startup + job.planned_seconds * share - _since(job, now))
