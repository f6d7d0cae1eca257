"""What a user asks of a job: cancel, pause, resume. A job without a process obeys at once, the others soon."""

from llm.errors import ServiceError
from vlm.service.store.database import Database
from vlm.service.store.job_table import JobChanges, Note, StateConflictError, find_job, move
from vlm.service.store.rows import Job
from vlm.service.store.states import State

_WAITING = frozenset({State.VALIDATING, State.QUEUED, State.INTERRUPTED})


class UnknownJobError(ServiceError):
    """There is no job of that id."""


def cancel(database: Database, name: str) -> Job:
    """End a job for good; what it has saved stays. Cancelling it again changes nothing.

    Raises UnknownJobError, and StateConflictError when it has ended otherwise.
    """
    alive = frozenset({State.STARTING, State.RUNNING, State.PAUSING})
    move(database, name, _WAITING | {State.PAUSED}, State.CANCELLED, Note("Fine-tuning job cancelled"))
    move(database, name, alive, State.CANCELLING, Note("Cancelling: the running step is finished and saved"))
    # An attempt may have ended between the two: then the job waits.
    move(database, name, _WAITING | {State.PAUSED}, State.CANCELLED, Note("Fine-tuning job cancelled"))
    return _expect(database, name, {State.CANCELLING, State.CANCELLED}, "cancelled")


def pause(database: Database, name: str) -> Job:
    """Stop a job after the step that runs, until it is resumed. Pausing it again changes nothing.

    Raises UnknownJobError, and StateConflictError when it has ended or is being cancelled.
    """
    move(database, name, _WAITING, State.PAUSED, Note("Fine-tuning job paused"))
    running = frozenset({State.STARTING, State.RUNNING})
    move(database, name, running, State.PAUSING, Note("Pausing: the running step is finished and saved"))
    move(database, name, _WAITING, State.PAUSED, Note("Fine-tuning job paused"))
    return _expect(database, name, {State.PAUSING, State.PAUSED}, "paused")


def resume(database: Database, name: str, engine: str | None = None, processes: int | None = None) -> Job:
    """Put a paused job back into the queue; it goes on after its last step, on another engine where one is given.

    With another number of processes it goes on as `eyegraft train --nproc` does: with other dropout, sums in another
    order. Raises UnknownJobError, and StateConflictError when it is not paused.
    """
    job = find(database, name)
    target = State.QUEUED if job.recipe else State.VALIDATING
    changes: JobChanges = {}
    if engine is not None:
        changes["engine"] = engine
    if processes is not None:
        changes["processes"] = processes
    note = Note("Fine-tuning job resumed")
    if engine is not None and engine != job.engine:
        note = Note(f"Fine-tuning job resumed on {engine}")
    if not move(database, name, {State.PAUSED}, target, note, **changes):
        found = f"{name} is {job.state} and cannot be resumed; only a paused job can"
        raise StateConflictError(f"{found}. Wait until it is paused" if job.state is State.PAUSING else found)
    return find(database, name)


def find(database: Database, name: str) -> Job:
    """The job of that id. Raises UnknownJobError."""
    job = find_job(database, name)
    if job is None:
        raise UnknownJobError(f"there is no job {name[:80]!r}; `eyegraft jobs ls` lists them")
    return job


def _expect(database: Database, name: str, states: set[State], verb: str) -> Job:
    job = find(database, name)
    if job.state not in states:
        raise StateConflictError(f"{name} is {job.state} and cannot be {verb}")
    return job
