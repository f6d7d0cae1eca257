"""Which queued jobs start now, and on which slots."""

from collections.abc import Callable, Mapping, Sequence

from llm.errors import ServiceError
from vlm.service.attempts.verdict import lost_run as lost_verdict
from vlm.service.engines.engine import Engine, Health, Slot, Start, unreachable
from vlm.service.follow import lost_run
from vlm.service.layout import Layout
from vlm.service.reconcile import engine_of
from vlm.service.run_progress import newest_step
from vlm.service.store.attempt_table import begin_attempt, leased_slots, name_attempt
from vlm.service.store.database import Database
from vlm.service.store.event_table import note_once, troubles_noted
from vlm.service.store.job_table import Note, move, queued_engines, queued_jobs, unfit_jobs, unnoted_jobs
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import State

StartOf = Callable[[Job, Attempt], Start]
UNBOUNDED = 1 << 62
LOOKED_AT = 50  # jobs of an engine that are read, beyond those that no slots are enough for
NUMBER, SIZE = "%d", "%.1f"  # in a message, for SQLite's printf
MOST_AT_ONCE = 20  # starts in one look: the other jobs are looked after in between


def schedule(database: Database, layout: Layout, engines: Mapping[str, Engine], start_of: StartOf) -> None:
    """Start queued jobs while there are slots: by priority, then in order of submission.

    The first job of an engine that has to wait holds back those after it: a job of many slots is not starved by small
    ones. It holds back no job from a slot that it does not fit itself, and one that no slots are enough for holds back
    nothing. Only the first jobs of each engine are read: the rest of a long queue costs nothing.
    """
    left = MOST_AT_ONCE
    for name in queued_engines(database):
        engine = engine_of(engines, layout, name)
        health = _probe(engine)
        places: tuple[Slot, ...] | None = None
        if health.usable and not engine.queues:
            places = health.slots
            _note_impossible(database, name, places)
        while True:
            started, waits = _start_in_turn(database, layout, engine, health, places, start_of, left)
            left -= started
            if waits is None or places is None or not left:
                break
            places = tuple(slot for slot in places if not _fits(waits, slot))
            if {slot.name for slot in places} <= leased_slots(database).keys():
                break


def _start_in_turn(
    database: Database,
    layout: Layout,
    engine: Engine,
    health: Health,
    places: tuple[Slot, ...] | None,
    start_of: StartOf,
    most: int,
) -> tuple[int, Job | None]:
    """Start at most so many jobs that fit `places`, until one of them has to wait; how many, and that one."""
    started = 0
    sizes = None if places is None else _sizes(places)
    for job in queued_jobs(database, engine.name, sizes, LOOKED_AT):
        with troubles_noted(database, job.id):
            if not health.usable:
                note_once(database, job.id, health.reason)
                return started, None
            if _is_lost(database, layout, job):
                continue
            attempt = _begin(database, layout, engine, places, job) if started < most else None
            if attempt is None:
                return started, job
            started += 1
            submit(database, engine, attempt, start_of(job, attempt))
    return started, None


def _fits(job: Job, slot: Slot) -> bool:
    return (job.planned_bytes or 0) <= _size(slot)


def _size(slot: Slot) -> int:
    return slot.memory or UNBOUNDED


def _sizes(slots: Sequence[Slot]) -> list[int]:
    return sorted(map(_size, slots), reverse=True)


def submit(database: Database, engine: Engine, attempt: Attempt, start: Start) -> None:
    """Hand an attempt to its engine; while that cannot be asked, a later tick does."""
    try:
        native_id = engine.submit(start)
    except ServiceError as error:
        note_once(database, attempt.job, unreachable(engine.name, error))
        return
    name_attempt(database, attempt, native_id)


def _probe(engine: Engine) -> Health:
    try:
        return engine.probe()
    except ServiceError as error:
        return Health(False, unreachable(engine.name, error), ())


def _note_impossible(database: Database, engine: str, slots: Sequence[Slot]) -> None:
    """Say once of jobs that need more or larger slots than there are what they wait for."""
    message = f"the job waits for {NUMBER} slots, and {engine} has {len(slots)}. Add cards, or cancel the job"
    for job, processes in unnoted_jobs(database, engine, len(slots), message):
        note_once(database, job, message % processes)
    message = f"the job waits for {NUMBER} slots of {SIZE} GiB, and {engine} has too few. Add cards, or cancel the job"
    for job, said in unfit_jobs(database, engine, _sizes(slots), message):
        note_once(database, job, said)


def _is_lost(database: Database, layout: Layout, job: Job) -> bool:
    """Whether the run folder of a job is gone with its checkpoints: then the job ends."""
    run = lost_run(database, layout, job.id)
    if not run:
        return False
    verdict = lost_verdict(run)
    assert verdict.error is not None
    note = Note(verdict.message, verdict.level)
    move(database, job.id, {State.QUEUED}, verdict.target, note, error=verdict.error)
    return True


def _begin(
    database: Database, layout: Layout, engine: Engine, places: Sequence[Slot] | None, job: Job
) -> Attempt | None:
    """Begin an attempt on the smallest free slots in which the job fits, or do nothing."""
    chosen = list[str]()
    if places is not None:
        taken = leased_slots(database)
        free = [slot for slot in sorted(places, key=_size) if slot.name not in taken and _fits(job, slot)]
        chosen = [slot.name for slot in free[: job.processes]]
        if len(chosen) < job.processes:
            return None
    return begin_attempt(database, job.id, engine.name, tuple(chosen), newest_step(layout.run(job.id)))
