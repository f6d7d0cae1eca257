"""Events and checkpoints of jobs in the database: only ever added, in the order in which they happened."""

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal

from llm.errors import ServiceError
from llm.train.metrics import MetricsLine
from vlm.run_folders.progress import RunProgress, number_of
from vlm.service.store.database import Database
from vlm.service.store.rows import Event, JobCheckpoint, Level

MOST_CHECKPOINTS = 1000  # rows of a job, about
MOST_EVENTS = 10_000  # of a job, about
# Kinds of lines that are few stay complete: validations beside a million steps.
_THIN = """DELETE FROM events WHERE sequence IN (
    SELECT sequence FROM (
        SELECT sequence, row_number() OVER (PARTITION BY line ORDER BY sequence) AS place,
            count(*) OVER (PARTITION BY line) AS total
        FROM (SELECT sequence, CASE kind WHEN 'metrics' THEN json_extract(data, '$.kind') ELSE '' END AS line
            FROM events WHERE job = ? AND (kind = 'metrics' OR message LIKE 'Checkpoint created at step %')))
    WHERE total > ? AND place % 2 = 0 AND place <= total * 3 / 4)
"""


def add_event(
    connection: sqlite3.Connection,
    job: str,
    message: str,
    level: Level = "info",
    kind: Literal["message", "metrics"] = "message",
    data: Mapping[str, object] | None = None,
) -> None:
    """Add an event as a part of a transaction."""
    connection.execute(
        "INSERT INTO events(job, created_at, level, kind, message, data) VALUES (?, ?, ?, ?, ?, ?)",
        (job, int(time.time()), level, kind, message, json.dumps(data or {})),
    )


def note_once(database: Database, job: str, message: str, level: Level = "warn") -> None:
    """Add an event unless it is the job's newest message: what lasts is said once."""
    newest = database.rows(
        "SELECT message FROM events WHERE job = ? AND kind = 'message' ORDER BY sequence DESC LIMIT 1", (job,)
    )
    if not newest or newest[0]["message"] != message:
        with database.transaction() as connection:
            add_event(connection, job, message, level)


@contextmanager
def troubles_noted(database: Database, job: str) -> Iterator[None]:
    """An error of one job's folder or disk is an event of that job, and no obstacle to the others."""
    try:
        yield
    except (ServiceError, OSError) as error:
        note_once(database, job, str(error), "error")


def list_events(
    database: Database, job: str, limit: int, before: int | None = None, after: int | None = None
) -> tuple[list[Event], bool]:
    """Events of a job and whether there are more: newest first those before `before`, or oldest first after `after`."""
    order = "ASC" if after is not None else "DESC"
    rows = database.rows(
        f"SELECT * FROM events WHERE job = ? AND sequence > ? AND sequence < ? ORDER BY sequence {order} LIMIT ?",
        (job, after or 0, before if before is not None else 1 << 62, limit + 1),
    )
    return [_event(row) for row in rows[:limit]], len(rows) > limit


def list_messages(database: Database, job: str, limit: int) -> list[Event]:
    """The newest events of a job that are not metrics, newest first."""
    query = "SELECT * FROM events WHERE job = ? AND kind = 'message' ORDER BY sequence DESC LIMIT ?"
    return [_event(row) for row in database.rows(query, (job, limit))]


def add_metrics(database: Database, job: str, lines: Sequence[MetricsLine], progress: RunProgress) -> None:
    """Add lines of metrics.jsonl as events, and store how far the run is."""
    with database.transaction() as connection:
        connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", (json.dumps(asdict(progress)), job))
        if (began := _training_began(lines)) is not None:
            connection.execute(
                "UPDATE attempts SET trained_at = ? WHERE job = ? AND ended_at IS NULL AND trained_at IS NULL "
                "AND started_at <= ?",
                (began, job, began),
            )
        for line in lines:
            message, data = metrics_event(line)
            add_event(connection, job, message, kind="metrics", data=data)
        _thin(connection, job)


def _training_began(lines: Sequence[MetricsLine]) -> float | None:
    """When the first step of these lines began; None where none of them is of a step."""
    times = ((number_of(line, "time"), number_of(line, "step_seconds")) for line in lines if line["kind"] == "train")
    return next((time - (seconds or 0.0) for time, seconds in times if time is not None), None)


def _thin(connection: sqlite3.Connection, job: str) -> None:
    """Beyond MOST_EVENTS, delete every second of a job's older metrics, and of its notes of checkpoints.

    The newest quarter stays as it is: what is older is there ever more sparsely. `metrics.jsonl` has every line.
    """
    while connection.execute("SELECT count(*) FROM events WHERE job = ?", (job,)).fetchone()[0] > MOST_EVENTS:
        if connection.execute(_THIN, (job, MOST_EVENTS // 16)).rowcount == 0:
            return


def metrics_event(line: MetricsLine) -> tuple[str, dict[str, Any]]:
    """Message and data of a line of metrics: its figures, for people and for programs."""
    figures = {key: line[key] for key in line if key != "time" and number_of(line, key) is not None}
    return _message(line, figures), {"kind": line["kind"], **figures}


def _message(line: MetricsLine, figures: dict[str, Any]) -> str:
    """A line of metrics for people: the plan of the run, or the figures of a step."""
    if line["kind"] == "plan":
        counts = ((name, figures.get(name)) for name in ("records", "tokens", "supervised_tokens", "images", "steps"))
        shown = ", ".join(f"{name}={count:,}" for name, count in counts if count)
        return f"Training on {shown}"
    names = ("loss", "lr", "grad_norm")
    shown = ", ".join(f"{key}={value:.4g}" for key, value in figures.items() if key in names)
    return f"Step {line['step']}{' (validation)' if line['kind'] == 'validation' else ''}: {shown}"


def newest_metrics(database: Database, job: str) -> dict[str, dict[str, Any]]:
    """The newest metrics of each kind of line; empty before the first."""
    rows = database.rows(
        "SELECT data, max(sequence) FROM events WHERE job = ? AND kind = 'metrics' "
        "GROUP BY json_extract(data, '$.kind')",
        (job,),
    )
    found = [json.loads(row["data"]) for row in rows]
    return {data["kind"]: data for data in found}


def sampled_metrics(database: Database, job: str, most: int) -> list[tuple[int, dict[str, Any]]]:
    """About `most` metrics of each kind of line, evenly spread and the newest among them, with their order."""
    rows = database.rows(
        "SELECT sequence, data FROM (SELECT sequence, data, row_number() OVER lines AS place, count(*) OVER (PARTITION "
        "BY json_extract(data, '$.kind')) AS total FROM events WHERE job = ? AND kind = 'metrics' WINDOW lines AS "
        "(PARTITION BY json_extract(data, '$.kind') ORDER BY sequence)) "
        "WHERE place = total OR place % max(1, total / ?) = 0 ORDER BY sequence",
        (job, most),
    )
    return [(row["sequence"], json.loads(row["data"])) for row in rows]


def stored_metrics(database: Database, job: str) -> list[MetricsLine]:
    """The lines of a job's metrics that the store has, in order."""
    rows = database.rows("SELECT data FROM events WHERE job = ? AND kind = 'metrics' ORDER BY sequence", (job,))
    return [json.loads(row["data"]) for row in rows]


def add_checkpoint(
    database: Database, job: str, step: int, metrics: Mapping[str, float], saved: Collection[int] = ()
) -> bool:
    """Add a checkpoint unless it is known, with its event; returns whether it is new.

    Beyond MOST_CHECKPOINTS of a job, every second of the older ones goes that are not among `saved`.
    """
    with database.transaction() as connection:
        done = connection.execute(
            "INSERT OR IGNORE INTO checkpoints(job, step, created_at, metrics) VALUES (?, ?, ?, ?)",
            (job, step, int(time.time()), json.dumps(dict(metrics))),
        )
        if done.rowcount:
            add_event(connection, job, f"Checkpoint created at step {step}", data={"step": step})
            _thin_checkpoints(connection, job, saved)
        return bool(done.rowcount)


def _thin_checkpoints(connection: sqlite3.Connection, job: str, saved: Collection[int]) -> None:
    rows = connection.execute("SELECT step FROM checkpoints WHERE job = ? ORDER BY step", (job,)).fetchall()
    if len(rows) <= MOST_CHECKPOINTS:
        return
    older = [row["step"] for row in rows[: len(rows) * 3 // 4 : 2]]
    gone = [(job, step) for step in older if step not in saved]
    connection.executemany("DELETE FROM checkpoints WHERE job = ? AND step = ?", gone)


def list_checkpoints(database: Database, job: str, limit: int = -1, before: int | None = None) -> list[JobCheckpoint]:
    """The checkpoints of a job, newest first: those of steps before `before`, at most `limit` of them."""
    rows = database.rows(
        "SELECT * FROM checkpoints WHERE job = ? AND step < ? ORDER BY step DESC LIMIT ?",
        (job, 1 << 62 if before is None else before, limit),
    )
    return [JobCheckpoint(**{**dict(row), "metrics": json.loads(row["metrics"])}) for row in rows]


def _event(row: sqlite3.Row) -> Event:
    return Event(**{**dict(row), "data": json.loads(row["data"])})
