"""Attempts and the leases of slots. An attempt is written before anything is started: a job never runs twice."""

import json
import sqlite3
import statistics
import time

from vlm.service.store.database import Database
from vlm.service.store.job_table import JobChanges, Note, move_within
from vlm.service.store.rows import Attempt
from vlm.service.store.states import ACTIVE, NEXT, State

STARTUPS = 9  # attempts whose start-up is looked at


def begin_attempt(database: Database, job: str, engine: str, slots: tuple[str, ...], start_step: int) -> Attempt | None:
    """Move a job from queued to starting with its next attempt and the leases of its slots, or do nothing.

    None when the job is no longer queued, or one of the slots is taken.
    """
    with database.transaction() as connection:
        marks = ", ".join("?" * len(slots))
        if connection.execute(f"SELECT 1 FROM leases WHERE slot IN ({marks})", slots).fetchone():
            return None
        if not move_within(connection, job, {State.QUEUED}, State.STARTING, Note(), {"engine": engine}):
            return None
        last = connection.execute("SELECT max(number) FROM attempts WHERE job = ?", (job,)).fetchone()[0]
        attempt = Attempt(job, (last or 0) + 1, engine, slots, start_step, int(time.time()))
        connection.execute(
            "INSERT INTO attempts(job, number, engine, slots, start_step, started_at) VALUES (?, ?, ?, ?, ?, ?)",
            (job, attempt.number, engine, json.dumps(slots), start_step, attempt.started_at),
        )
        connection.executemany(
            "INSERT INTO leases(slot, job, number) VALUES (?, ?, ?)", [(slot, job, attempt.number) for slot in slots]
        )
        connection.execute(
            "UPDATE jobs SET started_at = coalesce(started_at, ?) WHERE id = ?", (attempt.started_at, job)
        )
        return attempt


def name_attempt(database: Database, attempt: Attempt, native_id: str) -> None:
    """Store the engine's own name of an attempt."""
    with database.transaction() as connection:
        connection.execute(
            "UPDATE attempts SET native_id = ? WHERE job = ? AND number = ?",
            (native_id, attempt.job, attempt.number),
        )


def end_attempt(
    database: Database,
    attempt: Attempt,
    target: State,
    note: Note,
    changes: JobChanges | None = None,
    then: State | None = None,
) -> bool:
    """End an attempt, release its slots and move its job to `target`, and on to `then`: all of it, or nothing.

    False when the attempt had ended, or when the job's state does not lead to `target` (it was changed meanwhile).
    """
    sources = {state for state in ACTIVE if target in NEXT[state]}
    with database.transaction() as connection:
        living = connection.execute(
            "SELECT 1 FROM attempts WHERE job = ? AND number = ? AND ended_at IS NULL", (attempt.job, attempt.number)
        ).fetchone()
        if living is None or not move_within(connection, attempt.job, sources, target, note, changes or {}):
            return False
        connection.execute(
            "UPDATE attempts SET ended_at = ? WHERE job = ? AND number = ?",
            (int(time.time()), attempt.job, attempt.number),
        )
        connection.execute("DELETE FROM leases WHERE job = ? AND number = ?", (attempt.job, attempt.number))
        if then is not None:
            move_within(connection, attempt.job, {target}, then, Note(), {})
        return True


def living_attempts(database: Database) -> list[Attempt]:
    """The attempts that have not ended, oldest first."""
    return [_attempt(row) for row in database.rows("SELECT * FROM attempts WHERE ended_at IS NULL ORDER BY started_at")]


def attempts_of(database: Database, job: str) -> list[Attempt]:
    """Every attempt of a job in order."""
    return [_attempt(row) for row in database.rows("SELECT * FROM attempts WHERE job = ? ORDER BY number", (job,))]


def count_attempts(database: Database) -> dict[tuple[str, bool], int]:
    """The number of attempts by engine and whether they are alive."""
    query = "SELECT engine, ended_at IS NULL AS alive, count(*) AS count FROM attempts GROUP BY 1, 2"
    return {(row["engine"], bool(row["alive"])): row["count"] for row in database.rows(query)}


def startup_seconds(database: Database, engine: str) -> float | None:
    """Seconds from an attempt's start to its first step, the median of an engine's newest; None before the first."""
    rows = database.rows(
        "SELECT trained_at - started_at AS seconds FROM attempts WHERE engine = ? AND trained_at IS NOT NULL "
        "ORDER BY trained_at DESC LIMIT ?",
        (engine, STARTUPS),
    )
    return statistics.median(row["seconds"] for row in rows) if rows else None


def leased_slots(database: Database) -> dict[str, str]:
    """The slots that are taken, and the job that has each."""
    return {row["slot"]: row["job"] for row in database.rows("SELECT slot, job FROM leases")}


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(**{**dict(row), "slots": tuple(json.loads(row["slots"]))})
