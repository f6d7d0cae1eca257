"""Living attempts are compared with their engines and folders, and their jobs moved on."""

from collections.abc import Callable, Mapping, Sequence

from llm.errors import ServiceError
from vlm.service.attempts.exit_record import close_attempt, is_over, read_exit
from vlm.service.attempts.last_words import last_words
from vlm.service.attempts.stop_file import ask_to_end, ask_to_stop, is_ended
from vlm.service.attempts.verdict import Observed, Verdict, judge
from vlm.service.engines.absent import AbsentEngine
from vlm.service.engines.engine import Engine, NativeState, unreachable
from vlm.service.follow import lost_run
from vlm.service.layout import Layout
from vlm.service.run_progress import newest_step
from vlm.service.store.attempt_table import end_attempt, living_attempts
from vlm.service.store.database import Database
from vlm.service.store.event_table import note_once, troubles_noted
from vlm.service.store.job_table import JobChanges, Note, find_job, move
from vlm.service.store.rows import Attempt, Job
from vlm.service.store.states import State


def reconcile(
    database: Database,
    layout: Layout,
    engines: Mapping[str, Engine],
    results: Callable[[Job], JobChanges],
    grace_s: float,
) -> None:
    """Judge every living attempt. An engine that cannot be asked changes nothing.

    `results` reads what an attempt that is over has written, before its job moves on. `grace_s`: seconds in which the
    training of a job must stop that is being paused or cancelled; then its processes are killed.
    """
    attempts = living_attempts(database)
    states = _poll(database, layout, attempts, engines)
    for attempt in attempts:
        job = find_job(database, attempt.job)
        if job is None:
            continue
        engine = engine_of(engines, layout, attempt.engine)
        with troubles_noted(database, job.id):
            folder = layout.attempt(attempt)
            if job.state in (State.PAUSING, State.CANCELLING) and ask_to_stop(folder) > grace_s:
                ask_to_end(folder)
            if attempt.engine not in engines:
                note_once(database, job.id, engine.probe().reason)
            native = states.get(attempt.name)
            if native is not None:
                _settle(database, layout, engine, job, attempt, native, results)


def engine_of(engines: Mapping[str, Engine], layout: Layout, name: str) -> Engine:
    """The engine of that name; where the service runs without it, one that starts nothing."""
    return engines.get(name) or AbsentEngine(name, layout.attempt)


def _poll(
    database: Database, layout: Layout, attempts: Sequence[Attempt], engines: Mapping[str, Engine]
) -> dict[str, NativeState]:
    found: dict[str, NativeState] = {}
    for name in dict.fromkeys(attempt.engine for attempt in attempts):
        engine = engine_of(engines, layout, name)
        own = [attempt for attempt in attempts if attempt.engine == name]
        if engine.queues:
            over = [attempt for attempt in own if is_over(layout.attempt(attempt))]
            found |= {attempt.name: NativeState("gone") for attempt in over}
            own = [attempt for attempt in own if attempt.name not in found]
        try:
            found |= engine.poll(own) if own else {}
        except ServiceError as error:
            for attempt in own:
                note_once(database, attempt.job, unreachable(name, error))
    return found


def _settle(
    database: Database,
    layout: Layout,
    engine: Engine,
    job: Job,
    attempt: Attempt,
    native: NativeState,
    results: Callable[[Job], JobChanges],
) -> None:
    verdict = judge(_observe(database, layout, engine, job, attempt, native))
    if verdict is None:
        if native.life == "pending" and job.state in (State.PAUSING, State.CANCELLING):
            engine.withdraw(attempt)
        elif is_ended(layout.attempt(attempt)):
            engine.kill(attempt)
    elif verdict.target is State.RUNNING:
        move(database, job.id, {State.STARTING}, State.RUNNING, Note(verdict.message))
    elif close_attempt(layout.attempt(attempt), attempt.name):
        _end(database, attempt, verdict, results(job))


def _observe(
    database: Database, layout: Layout, engine: Engine, job: Job, attempt: Attempt, native: NativeState
) -> Observed:
    folder, gone = layout.attempt(attempt), native.life == "gone"
    ended, fault = None, ""
    if gone:  # the record is written a moment before the lock is free
        try:
            ended = read_exit(folder)
        except ServiceError as error:
            fault = str(error)
        if ended is not None and ended.code:
            fault = _missing_slots(engine, attempt)
    return Observed(
        state=job.state,
        life=native.life,
        ended=ended,
        start_step=attempt.start_step,
        step=newest_step(layout.run(job.id)),
        stalled=job.stalled,
        reason=last_words(folder) if gone else "",
        fault=fault,
        lost=lost_run(database, layout, job.id) if gone else "",
        killed=is_ended(folder),
    )


def _missing_slots(engine: Engine, attempt: Attempt) -> str:
    """What to say of an attempt whose slots the engine does not list any more; empty where it has them all."""
    missing = set(attempt.slots) - {slot.name for slot in engine.probe(fresh=True).slots} if attempt.slots else ()
    return f"the slot {', '.join(sorted(missing))} has disappeared" if missing else ""


def _end(database: Database, attempt: Attempt, verdict: Verdict, changes: JobChanges) -> None:
    changes = {**changes, "stalled": verdict.stalled}
    if verdict.error is not None:
        changes["error"] = verdict.error
    then = None
    if verdict.target is State.INTERRUPTED:
        then = State.PAUSED if verdict.waits else State.QUEUED
    end_attempt(database, attempt, verdict.target, Note(verdict.message, verdict.level), changes, then)
