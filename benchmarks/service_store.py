"""Stores of many jobs for benchmarks.service, written in bulk."""

import json
from collections.abc import Iterator
from typing import Any

from vlm.service.store.database import Database

EVENTS, CHECKPOINTS = 200, 10
BEGAN = 1_790_000_000


def fill(database: Database, count: int) -> list[str]:
    """Jobs that have ended, but for a twentieth that is paused; returns their names, newest first."""
    return _fill(database, count, lambda number: "paused" if number % 20 == 0 else "succeeded", EVENTS)


def fill_waiting(database: Database, count: int) -> list[str]:
    """Jobs that wait for an engine that the service runs without; returns their names, newest first."""
    return _fill(database, count, lambda _: "queued", 3)


def _fill(database: Database, count: int, state_of: Any, events: int) -> list[str]:
    names = [f"ftjob-{number:024x}" for number in range(count)]
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO files(id, filename, purpose, bytes, sha256, path, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (f"file-{n:024x}", f"part-{n}.jsonl", "fine-tune", 1 << 20, "0" * 64, f"{n}", BEGAN)
                for n in range(count)
            ),
        )
        for number, name in enumerate(names):
            row = _job(number, name, state_of(number))
            connection.execute(
                f"INSERT INTO jobs({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
            )
        connection.executemany(
            "INSERT INTO events(job, created_at, level, kind, message, data) VALUES (?, ?, ?, ?, ?, ?)",
            _events(names, events),
        )
        steps = range(0, EVENTS, EVENTS // CHECKPOINTS) if events == EVENTS else range(0)
        connection.executemany(
            "INSERT INTO checkpoints(job, step, created_at, metrics) VALUES (?, ?, ?, ?)",
            ((name, step, BEGAN, json.dumps({"step": step, "train_loss": 1.5})) for name in names for step in steps),
        )
    return names[::-1]


def _job(number: int, name: str, state: str) -> dict[str, Any]:
    metadata = {"team": "even" if number % 2 == 0 else "odd", "name": f"number-{number}"}
    request = {
        "model": "tiny", "training_file": f"file-{number:024x}", "validation_file": None, "method": None,
        "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}, "suffix": "x",
        "seed": number, "metadata": metadata, "integrations": None,
        "x_eyegraft": {"engine": None, "processes": 1, "priority": 0, "images": None, "stage": None,
                       "recipe": {"train": {"batch": 4}, "tune": {"rank": 8}, "data": {"template": "chatml"}}},
    }  # fmt: skip
    progress = {"step": 200, "steps": 200, "loss": 1.2, "tokens_per_s": 900.0, "step_seconds": 1.0, "time": BEGAN}
    ended = BEGAN + 300 if state == "succeeded" else None
    return {
        "id": name, "state": state, "created_at": BEGAN + number, "request": json.dumps(request), "model": "tiny",
        "metadata": json.dumps(metadata), "recipe": "key: value\n" * 100, "planned_seconds": 60.0,
        "engine": "slurm" if state == "queued" else "local", "fine_tuned_model": f"ft:tiny:x:{name[6:]}",
        "training_file": f"file-{number:024x}", "started_at": BEGAN, "finished_at": ended, "trained_tokens": 9,
        "progress": json.dumps(progress if state != "queued" else {}),
    }  # fmt: skip


def _events(names: list[str], count: int) -> Iterator[tuple[str, int, str, str, str, str]]:
    for step in range(count):
        data = json.dumps({"kind": "train", "step": step, "loss": 2 - step / 200, "lr": 1e-4, "grad_norm": 1.0})
        for name in names:
            yield (
                name,
                BEGAN,
                "info",
                "metrics",
                f"Step {step}: loss={2 - step / 200:.4g}, lr=0.0001, grad_norm=1",
                data,
            )
