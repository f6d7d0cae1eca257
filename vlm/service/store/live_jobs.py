"""The jobs that run or wait, with what an estimate of their end needs."""

import json
from dataclasses import dataclass

from vlm.run_folders.progress import RunProgress
from vlm.service.store.database import Database
from vlm.service.store.states import ACTIVE, State

WAITING = frozenset({State.QUEUED, State.INTERRUPTED})
QUERY = """SELECT id, state, engine, processes, planned_seconds, progress,
    (SELECT max(step) FROM checkpoints WHERE job = jobs.id) AS saved,
    (SELECT started_at FROM attempts WHERE job = jobs.id AND ended_at IS NULL) AS started
FROM jobs WHERE state IN ({}) ORDER BY priority DESC, sequence
"""
NONE = RunProgress()  # of the thousands that may wait


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A job that runs or waits.

    Attributes:
        saved: Steps of its newest checkpoint: where its next attempt begins.
        started: When its attempt began; None while it waits.
    """

    id: str
    state: State
    engine: str
    processes: int
    planned_seconds: float | None
    progress: RunProgress
    saved: int
    started: float | None


def live_jobs(database: Database) -> list[LiveJob]:
    """The jobs that run or wait, in the order in which they start."""
    states = [*ACTIVE, *WAITING]
    rows = database.rows(QUERY.format(", ".join("?" * len(states))), states)
    return [
        LiveJob(name, State(state), engine, processes, planned, _progress(progress), saved or 0, started)
        for name, state, engine, processes, planned, progress, saved, started in rows
    ]


def _progress(text: str) -> RunProgress:
    return NONE if text == "{}" else RunProgress(**json.loads(text))
