"""When jobs will have ended: values computed by hand, over the store and over plain queues."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vlm.run_folders.progress import RunProgress
from vlm.service import estimates
from vlm.service.engines.engine import EngineDownError, Health, NativeState, Slot, Start
from vlm.service.estimates import Estimates, finishes, seconds_left
from vlm.service.requests import cancel, pause, resume
from vlm.service.store.attempt_table import attempts_of, begin_attempt, end_attempt
from vlm.service.store.database import Database
from vlm.service.store.event_table import add_checkpoint, add_metrics
from vlm.service.store.job_table import NewJob, Note, find_job, move, submit
from vlm.service.store.live_jobs import LiveJob, live_jobs
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import State

NOW = 1000.0


@dataclass
class Machine:
    """An engine of a number of slots; nothing of it but these is asked."""

    slots: int
    queues: bool = False
    name: str = "local"
    down: bool = False

    def probe(self, fresh: bool = False) -> Health:
        if self.down:
            raise EngineDownError("down")
        return Health(True, "", tuple(Slot(f"gpu-{n}", "card", 0) for n in range(self.slots)))

    def submit(self, start: Start) -> str:
        raise AssertionError

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        raise AssertionError

    def withdraw(self, attempt: Attempt) -> None:
        raise AssertionError

    def kill(self, attempt: Attempt) -> None:
        raise AssertionError


def live(name: str, state: str, left: float | None, processes: int = 1) -> LiveJob:
    started = None if state == "queued" else NOW
    return LiveJob(name, State(state), "local", processes, left, RunProgress(), 0, started)


def test_one_slot_is_a_queue() -> None:
    """10 s are left of the first; then 20, then 5."""
    jobs = [live("b", "queued", 20.0), live("a", "running", 10.0), live("c", "queued", 5.0)]
    assert finishes(jobs, 1, NOW) == {"a": 1010.0, "b": 1030.0, "c": 1035.0}


def test_two_slots_are_filled_in_order() -> None:
    """c takes the slot of a at 10, d that of c at 11, e that of b at 30."""
    jobs = [live("a", "running", 10.0), live("b", "running", 30.0)]
    jobs += [live("c", "queued", 1.0), live("d", "queued", 40.0), live("e", "queued", 2.0)]
    assert finishes(jobs, 2, NOW) == {"a": 1010.0, "b": 1030.0, "c": 1011.0, "d": 1051.0, "e": 1032.0}


def test_a_job_of_two_slots_holds_back_those_after_it() -> None:
    """Slot 2 is free at 10, but the next job needs both: it begins at 30, and the small one after it at 70."""
    jobs = [live("a", "running", 10.0), live("b", "running", 30.0), live("c", "queued", 40.0, 2)]
    assert finishes([*jobs, live("d", "queued", 1.0)], 2, NOW) == {"a": 1010.0, "b": 1030.0, "c": 1070.0, "d": 1071.0}


def test_unknown_times_spread_to_those_who_wait_for_them() -> None:
    """b is of an unknown length; c has the free slot of a, d waits for b or c: c ends first."""
    jobs = [live("a", "running", 10.0), live("b", "running", None), live("c", "queued", 5.0), live("d", "queued", 5.0)]
    assert finishes(jobs, 2, NOW) == {"a": 1010.0, "b": math.inf, "c": 1015.0, "d": 1020.0}
    alone = [live("b", "running", None), live("c", "queued", 5.0)]
    assert finishes(alone, 1, NOW) == {"b": math.inf, "c": math.inf}


def test_a_job_that_needs_more_than_there_is_waits_by_itself() -> None:
    jobs = [live("a", "queued", 1.0, processes=3), live("b", "queued", 1.0)]
    assert finishes(jobs, 2, NOW) == {"a": math.inf, "b": 1001.0}


def test_slots_of_jobs_that_stop_are_free_at_once() -> None:
    jobs = [live("a", "pausing", 500.0), live("b", "cancelling", None), live("c", "queued", 5.0, 2)]
    assert finishes(jobs, 2, NOW) == {"c": 1005.0}


@pytest.mark.parametrize(
    ("state", "progress", "saved", "left"),
    [
        ("running", RunProgress(steps=10), 0, 70.0),  # its plan is 100 s and it began 30 s ago
        ("running", RunProgress(steps=10), 4, 30.0),  # an earlier attempt has saved 4 of 10 steps: 60 s were left
        ("running", RunProgress(steps=10), 9, 0.0),  # 10 s were left 30 s ago
        ("running", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW - 2), 4, 10.0),  # 4 steps of 3 s, less 2 s
        ("running", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW - 90), 4, 18.0),  # no line of this attempt: 6 steps of 3 s
        ("running", RunProgress(6, None, 1.0, 1.0, 3.0, NOW - 2), 0, 70.0),  # no total: the plan
        ("queued", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW - 90), 5, 15.0),  # it goes on from its checkpoint
        ("queued", RunProgress(), 0, 100.0),
    ],
)
def test_what_is_left_of_one_job(state: str, progress: RunProgress, saved: int, left: float) -> None:
    started = None if state == "queued" else NOW - 30
    job = LiveJob("a", State(state), "local", 1, 100.0, progress, saved, started)
    assert seconds_left(job, NOW) == pytest.approx(left)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time of the estimates; each is computed anew."""
    monkeypatch.setattr(estimates, "FRESH_S", 0.0)
    monkeypatch.setattr(estimates, "STARTUP_S", 0.0)
    return lambda now: monkeypatch.setattr(time, "time", lambda: now)


def queue(database: Database, planned: float | None, engine: str = "local", priority: int = 0) -> str:
    name = submit(database, NewJob({}, "base", {}, "file-1", priority=priority))[0].id
    changes: Any = {"planned_seconds": planned, "engine": engine, "recipe": "r"}
    assert move(database, name, {State.VALIDATING}, State.QUEUED, **changes)
    return name


def begin(database: Database, name: str) -> None:
    assert begin_attempt(database, name, "local", ("gpu-0",), 0) is not None
    assert move(database, name, {State.STARTING}, State.RUNNING)


def job_of(database: Database, name: str) -> Job:
    job = find_job(database, name)
    assert job is not None
    return job


def test_a_job_from_its_plan_to_its_end(database: Database, clock: Callable[[float], None]) -> None:
    """A plan of 60 s, then 10 steps of 4 s; another of 7 s waits for it."""
    found = Estimates(database, {"local": Machine(1)})

    def both() -> tuple[int | None, int | None]:
        return found.finish(job_of(database, first)), found.finish(job_of(database, second))

    clock(NOW)
    first = submit(database, NewJob({}, "base", {}, "file-1"))[0].id
    assert found.finish(job_of(database, first)) is None, "it is being validated"
    assert move(database, first, {State.VALIDATING}, State.QUEUED, engine="local", recipe="r", planned_seconds=60.0)
    second = queue(database, 7.0)
    assert both() == (1060, 1067)
    clock(NOW + 100)
    begin(database, first)
    assert both() == (1160, 1167), "it began later"
    clock(NOW + 200)
    assert both() == (1200, 1207), "never in the past"
    lines = [{"kind": "train", "step": 1, "loss": 2.0}]
    add_metrics(database, first, lines, RunProgress(1, 10, 2.0, 9.0, 4.0, NOW + 199))
    assert both() == (1235, 1242), "9 steps of 4 s from its first line on"
    add_checkpoint(database, first, 1, {})
    pause(database, first)
    assert both() == (None, 1207), "its slot is free in a moment"
    clock(NOW + 5000)
    (attempt,) = attempts_of(database, first)
    assert end_attempt(database, attempt, State.PAUSED, Note())
    assert both() == (None, 6007)
    resume(database, first)
    assert both() == (6036, 6043), "9 steps of 4 s; the pause of 4800 s is no part of them"
    begin(database, first)
    clock(NOW + 5010)
    assert both() == (6046, 6053), "no line of this attempt yet: nothing counts down"
    add_metrics(database, first, [], RunProgress(9, 10, 2.0, 9.0, 4.0, NOW + 5010))
    assert both() == (6014, 6021)
    cancel(database, first)
    assert found.finish(job_of(database, first)) is None
    assert end_attempt(database, attempts_of(database, first)[1], State.CANCELLED, Note())
    assert both() == (None, 6017)


@pytest.mark.parametrize(
    ("state", "progress", "left"),
    [
        ("queued", RunProgress(), 112.0),
        ("queued", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW - 90), 42.0),  # 12 s, then 10 steps of 3 s
        ("running", RunProgress(steps=10), 107.0),  # it began 5 s ago
        ("running", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW - 90), 37.0),  # no line of this attempt yet
        ("running", RunProgress(6, 10, 1.0, 1.0, 3.0, NOW), 12.0),  # it has begun: 4 steps of 3 s
    ],
)
def test_what_is_left_with_a_start_up_of_12_s(state: str, progress: RunProgress, left: float) -> None:
    started = None if state == "queued" else NOW - 5
    job = LiveJob("a", State(state), "local", 1, 100.0, progress, 0, started)
    assert seconds_left(job, NOW, 12.0) == pytest.approx(left)


def test_the_start_up_is_that_of_earlier_attempts(
    database: Database, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny model's steps take milliseconds, and the process before them seconds."""
    found = Estimates(database, {"local": Machine(1)})
    clock(NOW)
    monkeypatch.setattr(estimates, "STARTUP_S", 20.0)
    waiting = queue(database, 0.5)
    assert found.finish(job_of(database, waiting)) == 1021, "none has begun yet"
    for startup in (5.0, 7.0, 90.0):
        clock(NOW)
        done = queue(database, 1.0, priority=1)
        begin(database, done)
        (attempt,) = attempts_of(database, done)
        validation = {"kind": "validation", "step": 0, "loss": 2.0, "time": NOW + 1}
        early = {"kind": "train", "step": 1, "time": NOW - 50, "step_seconds": 2.0}  # of an earlier attempt
        add_metrics(database, done, [validation, early], RunProgress())
        assert attempts_of(database, done)[0].trained_at is None
        first = {"kind": "train", "step": 1, "time": NOW + startup + 2, "step_seconds": 2.0}
        later = {**first, "step": 2, "time": NOW + 100}
        for lines in ([first, later], [later]):
            add_metrics(database, done, lines, RunProgress())
        assert attempts_of(database, done)[0].trained_at == NOW + startup
        assert end_attempt(database, attempt, State.SUCCEEDED, Note())
    clock(NOW)
    assert found.finish(job_of(database, waiting)) == 1008, "the median: 7 s"


def test_priority_decides_who_waits(database: Database, clock: Callable[[float], None]) -> None:
    clock(NOW)
    late, early = queue(database, 10.0), queue(database, 3.0, priority=1)
    found = Estimates(database, {"local": Machine(1)})
    assert found.finish(job_of(database, early)) == 1003 and found.finish(job_of(database, late)) == 1013


def test_an_engine_with_a_queue_of_its_own(database: Database, clock: Callable[[float], None]) -> None:
    """Nobody knows when it starts what waits there; what runs has its own speed, and holds no slot of this machine."""
    clock(NOW)
    waiting, here = queue(database, 10.0, "slurm"), queue(database, 3.0)
    found = Estimates(database, {"local": Machine(1), "slurm": Machine(0, queues=True, down=True)})
    assert found.finish(job_of(database, waiting)) is None and found.finish(job_of(database, here)) == 1003
    assert begin_attempt(database, waiting, "slurm", (), 0) is not None
    assert found.finish(job_of(database, waiting)) is None, "Slurm may let it wait"
    assert move(database, waiting, {State.STARTING}, State.RUNNING)
    add_metrics(database, waiting, [], RunProgress(1, 3, 2.0, 9.0, 4.0, NOW))
    assert found.finish(job_of(database, waiting)) == 1008


def test_without_a_plan_nothing_is_known(database: Database, clock: Callable[[float], None]) -> None:
    clock(NOW)
    first, second = queue(database, None), queue(database, 5.0)
    found = Estimates(database, {"local": Machine(1)})
    assert found.finish(job_of(database, first)) is None and found.finish(job_of(database, second)) is None


def test_an_estimate_is_used_for_a_second(
    database: Database, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of a hundred jobs reads the queue once; what is old by then is not in the past either."""
    job = job_of(database, queue(database, 10.0))
    reads: list[int] = []

    def counted(database: Database) -> list[LiveJob]:
        reads.append(1)
        return live_jobs(database)

    monkeypatch.setattr(estimates, "live_jobs", counted)
    monkeypatch.setattr(estimates, "FRESH_S", 3600.0)
    found = Estimates(database, {"local": Machine(1)})
    clock(NOW)
    assert {found.finish(job) for _ in range(100)} == {1010}
    clock(NOW + 50)
    assert found.finish(job) == 1050 and len(reads) == 1
