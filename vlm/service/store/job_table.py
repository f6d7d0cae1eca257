"""Jobs in the database: submitted once, moved from state to state by compare-and-set, listed newest first."""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict, Unpack

from llm.errors import ServiceError
from vlm.run_folders.progress import RunProgress
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import add_deliveries, forget_deliveries
from vlm.service.store.event_table import add_event
from vlm.service.store.rows import Job, JobError, Level
from vlm.service.store.states import FINAL, NEXT, State

_TRAINED = "SELECT fine_tuned_model FROM jobs INDEXED BY jobs_trained WHERE state = 'succeeded' ORDER BY sequence DESC"
# The smallest of the slots that a job gets at best is large enough; NULL, which is false, where there are too few.
_FITS = "(coalesce(planned_bytes, 0) <= coalesce(json_extract(?, '$[' || (processes - 1) || ']'), -1))"
MOST_NAMES = 500  # in one statement
_JSON = frozenset({"request", "metadata", "error", "result_files", "progress"})


class KeyConflictError(ServiceError):
    """An Idempotency-Key that was used for another request."""


class MissingFileError(ServiceError):
    """A job that names a file which is not there."""


class StateConflictError(ServiceError):
    """A change that the job's state does not allow."""


class JobChanges(TypedDict, total=False):
    """Columns that change with a state."""

    recipe: str
    engine: str
    processes: int
    model: str
    fine_tuned_model: str
    planned_seconds: float | None
    planned_bytes: int | None
    trained_tokens: int
    error: JobError
    result_files: tuple[str, ...]
    stalled: int


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a client asks for. `needs`: files that must be there when the job is stored."""

    request: dict[str, Any]
    model: str
    metadata: dict[str, str]
    training_file: str
    validation_file: str | None = None
    priority: int = 0
    key: str | None = None
    needs: tuple[str, ...] = ()
    engine: str = ""  # the service's own while it is empty
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """The event that a change of state leaves; without a message none is left."""

    message: str = ""
    level: Level = "info"


def submit(database: Database, new: NewJob) -> tuple[Job, bool]:
    """Store a job; returns it and whether it is new. Requests with one key are one job, whichever comes first.

    Raises KeyConflictError when the key belongs to a job with another request, and MissingFileError.
    """
    with database.transaction() as connection:
        if new.key is not None:
            found = connection.execute("SELECT * FROM jobs WHERE key = ?", (new.key,)).fetchone()
            if found is not None:
                return _same_request(_job(found), new), False
        for file in new.needs:
            if connection.execute("SELECT 1 FROM files WHERE id = ?", (file,)).fetchone() is None:
                raise MissingFileError(f"there is no file {file}. Upload it")
        name = f"ftjob-{secrets.token_hex(12)}"
        connection.execute(
            "INSERT INTO jobs(id, key, state, created_at, request, model, metadata, training_file, validation_file, "
            "priority, fine_tuned_model, engine, processes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                new.key,
                State.VALIDATING,
                int(time.time()),
                json.dumps(new.request),
                new.model,
                json.dumps(new.metadata),
                new.training_file,
                new.validation_file,
                new.priority,
                model_name(new.model, new.request.get("suffix"), name),
                new.engine,
                new.processes,
            ),
        )
        kept = (
            "INSERT OR IGNORE INTO job_files SELECT ?, sequence FROM jobs WHERE id = ?"  # beside those of the trigger
        )
        connection.executemany(kept, [(file, name) for file in new.needs])
        add_event(connection, name, "Created fine-tuning job")
        return _job(connection.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()), True


def model_name(base: str, suffix: str | None, job: str) -> str:
    """`ft:BASE:SUFFIX:ID`; a model that is trained further keeps its base's name."""
    first = base.split(":")[1] if base.startswith("ft:") else base
    return f"ft:{first}:{suffix or ''}:{job.removeprefix('ftjob-')}"


def key_job(database: Database, key: str | None) -> Job | None:
    """The job that was submitted with that Idempotency-Key."""
    rows = database.rows("SELECT * FROM jobs WHERE key = ?", (key,))
    return _job(rows[0]) if rows else None


def find_job(database: Database, name: str) -> Job | None:
    """The job of that id."""
    rows = database.rows("SELECT * FROM jobs WHERE id = ?", (name,))
    return _job(rows[0]) if rows else None


def model_job(database: Database, model: str) -> Job | None:
    """The job that has trained the model of that name."""
    rows = database.rows("SELECT * FROM jobs WHERE fine_tuned_model = ? AND state = ?", (model, State.SUCCEEDED))
    return _job(rows[0]) if rows else None


def trained_jobs(database: Database, most: int = -1) -> list[Job]:
    """The jobs that have succeeded, newest first; at most so many, or all."""
    rows = database.rows("SELECT * FROM jobs WHERE state = ? ORDER BY sequence DESC LIMIT ?", (State.SUCCEEDED, most))
    return [_job(row) for row in rows]


def trained_names(database: Database) -> list[str]:
    """The names of the models of all jobs that have succeeded, newest first."""
    rows = database.rows(_TRAINED)
    return [row["fine_tuned_model"] for row in rows]


def list_jobs(
    database: Database, limit: int, after: str | None = None, metadata: dict[str, str] | None = None
) -> tuple[list[Job], bool]:
    """Jobs newest first, those that follow the job `after`; and whether there are more.

    `metadata`: only jobs that have all of these pairs.
    """
    source, conditions, values = "SELECT * FROM jobs", ["1"], list[object]()
    for number, (key, value) in enumerate((metadata or {}).items()):
        pair = "SELECT sequence FROM job_metadata WHERE key = ? AND value = ?"
        if number == 0:  # the jobs with the first pair are gone through in order, instead of all
            source = f"SELECT jobs.* FROM ({pair}) AS chosen CROSS JOIN jobs ON jobs.sequence = chosen.sequence"
        else:
            conditions.append(f"EXISTS ({pair} AND sequence = jobs.sequence)")
        values += [key, value]
    order = "chosen.sequence" if metadata else "jobs.sequence"
    if after is not None:
        conditions.append(f"{order} < (SELECT sequence FROM jobs WHERE id = ?)")
        values.append(after)
    query = f"{source} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?"
    rows = database.rows(query, [*values, limit + 1])
    return [_job(row) for row in rows[:limit]], len(rows) > limit


def jobs_named(database: Database, names: Collection[str]) -> dict[str, Job]:
    """The jobs of these ids, by their ids; those that are gone are left out."""
    wanted, found = list(names), dict[str, Job]()
    for start in range(0, len(wanted), MOST_NAMES):
        some = wanted[start : start + MOST_NAMES]
        rows = database.rows(f"SELECT * FROM jobs WHERE id IN ({', '.join('?' * len(some))})", some)
        found |= {row["id"]: _job(row) for row in rows}
    return found


def count_jobs(database: Database, states: Collection[State]) -> int:
    """How many jobs are in one of the states."""
    marks = ", ".join("?" * len(states))
    return int(database.rows(f"SELECT count(*) AS found FROM jobs WHERE state IN ({marks})", list(states))[0]["found"])


def count_by_state(database: Database) -> dict[State, int]:
    """The number of jobs in each state, also where it is 0."""
    rows = database.rows("SELECT state, count(*) AS count FROM jobs GROUP BY state")
    found = {row["state"]: row["count"] for row in rows}
    return {state: found.get(state.value, 0) for state in State}


def jobs_in(database: Database, states: Collection[State]) -> list[Job]:
    """The jobs in one of the states: those of higher priority first, then in order of submission."""
    marks = ", ".join("?" * len(states))
    query = f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY priority DESC, sequence"
    return [_job(row) for row in database.rows(query, list(states))]


def job_in(database: Database, state: State, number: int) -> Job | None:
    """The job of that number, from 0, among those of `jobs_in`; None beyond the last."""
    query = "SELECT * FROM jobs WHERE state = ? ORDER BY priority DESC, sequence LIMIT 1 OFFSET ?"
    rows = database.rows(query, (state, number))
    return _job(rows[0]) if rows else None


def queued_engines(database: Database) -> list[str]:
    """The engines for which jobs wait."""
    found: list[str] = []
    query = "SELECT min(engine) AS engine FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND engine > ?"
    while engine := database.rows(query, (found[-1] if found else "",))[0]["engine"]:  # one search each, no scan
        found.append(engine)
    return found


def queued_jobs(database: Database, engine: str, sizes: Sequence[int] | None, limit: int) -> list[Job]:
    """The first jobs that wait for an engine, in the order in which they start.

    `sizes`: bytes of slots, the largest first: only jobs that so many slots of these are enough for; None for all.
    """
    query = (
        f"SELECT * FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' AND engine = ? AND (? IS NULL OR {_FITS}) "
        "ORDER BY priority DESC, sequence LIMIT ?"
    )
    given = None if sizes is None else json.dumps(list(sizes))
    return [_job(row) for row in database.rows(query, (engine, given, given, limit))]


def unfit_jobs(database: Database, engine: str, sizes: Sequence[int], message: str) -> list[tuple[str, str]]:
    """The jobs that wait for an engine with enough slots, of which too few are large enough, and have not `message`.

    In it are %d, which is their number of processes, and %.1f, the GiB that each takes. Returns their ids, and the
    message of each. `sizes` as of `queued_jobs`.
    """
    query = (
        "SELECT id, said FROM (SELECT *, printf(?, processes, planned_bytes / 1073741824.0) AS said "
        "FROM jobs INDEXED BY jobs_large WHERE state = 'queued' AND engine = ? AND planned_bytes > ?) AS large "
        f"WHERE processes <= ? AND NOT {_FITS} AND NOT EXISTS "
        "(SELECT 1 FROM events WHERE job = large.id AND message = said)"
    )
    least = min(sizes, default=0)
    values = (message, engine, least, len(sizes), json.dumps(list(sizes)))
    return [(row["id"], row["said"]) for row in database.rows(query, values)]


def unnoted_jobs(database: Database, engine: str, most: int, message: str) -> list[tuple[str, int]]:
    """The jobs that wait for an engine with more than `most` processes, and have not `message`, in which %d is that
    number, among their events: their ids and processes.
    """
    query = (
        "SELECT id, processes FROM jobs INDEXED BY jobs_wide "
        "WHERE state = 'queued' AND engine = ? AND processes > ? AND NOT EXISTS "
        "(SELECT 1 FROM events WHERE job = jobs.id AND message = printf(?, processes)) ORDER BY processes"
    )
    return [(row["id"], row["processes"]) for row in database.rows(query, (engine, most, message))]


def move(
    database: Database,
    job: str,
    sources: Collection[State],
    target: State,
    note: Note = Note(),
    **changes: Unpack[JobChanges],
) -> bool:
    """Move a job to `target` if it is in one of `sources`; returns whether it was.

    The event is part of the change, and so are the deliveries to webhooks of a job that ends.
    """
    with database.transaction() as connection:
        return move_within(connection, job, sources, target, note, changes)


def move_within(
    connection: sqlite3.Connection,
    job: str,
    sources: Collection[State],
    target: State,
    note: Note,
    changes: JobChanges,
) -> bool:
    """`move` as a part of a transaction."""
    assert all(target in NEXT[source] for source in sources), f"{sources} -> {target}"
    columns: dict[str, object] = {"state": target, **{key: _stored(key, value) for key, value in changes.items()}}
    now = int(time.time())
    if target in FINAL:
        columns["finished_at"] = now
    given = ", ".join(f"{column} = ?" for column in columns)
    marks = ", ".join("?" * len(sources))
    done = connection.execute(
        f"UPDATE jobs SET {given} WHERE id = ? AND state IN ({marks})", (*columns.values(), job, *sources)
    )
    if done.rowcount and note.message:
        add_event(connection, job, note.message, note.level)
    if done.rowcount and target in FINAL:
        add_deliveries(connection, job, target, now)
    return bool(done.rowcount)


def update(database: Database, job: str, **changes: Unpack[JobChanges]) -> None:
    """Change columns that do not depend on the state."""
    given = ", ".join(f"{column} = ?" for column in changes)
    values = [_stored(key, value) for key, value in changes.items()]
    with database.transaction() as connection:
        connection.execute(f"UPDATE jobs SET {given} WHERE id = ?", (*values, job))


def remove_job(database: Database, name: str) -> bool:
    """Delete a job that has ended, with its events and checkpoints; returns whether there was one.

    Raises StateConflictError for one that has not ended.
    """
    with database.transaction() as connection:
        found = connection.execute("SELECT state FROM jobs WHERE id = ?", (name,)).fetchone()
        if found is None:
            return False
        if State(found["state"]) not in FINAL:
            raise StateConflictError(f"{name} is {found['state']}: cancel it first, then remove it")
        connection.execute("DELETE FROM jobs WHERE id = ?", (name,))
        forget_deliveries(connection, name)
        return True


def _same_request(job: Job, new: NewJob) -> Job:
    if _digest(job.request) != _digest(new.request):
        raise KeyConflictError(f"this Idempotency-Key belongs to {job.id}, which was another request. Send a new key")
    return job


def _digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _stored(column: str, value: object) -> object:
    if isinstance(value, JobError):
        value = asdict(value)
    return json.dumps(value) if column in _JSON else value


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    for column in _JSON:
        values[column] = json.loads(values[column]) if values[column] is not None else None
    values["state"], values["progress"] = State(values["state"]), RunProgress(**values["progress"])
    values["result_files"] = tuple(values["result_files"])
    if values["error"] is not None:
        values["error"] = JobError(**values["error"])
    return Job(**values)
