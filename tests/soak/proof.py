"""What an interrupted run must have in common with an uninterrupted one."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import CheckpointError
from llm.files.saved_checkpoints import MANIFEST, list_checkpoints
from llm.train.checkpoint_state import read_progress
from llm.train.metrics import read_metrics
from tests.soak.child import LOG

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Course:
    """A finished run: its metrics with floats as hex, the sha256 of its final files, and the records of every step."""

    rows: list[dict[str, str]]
    files: dict[str, str]
    steps: list[Line]


def course_of(folder: Path) -> Course:
    """The course of the run in `folder/run`."""
    (last,) = list_checkpoints(folder / "run")[-1:]
    manifest = json.loads((last / MANIFEST).read_text(encoding="utf-8"))
    files = {name: entry["sha256"] for name, entry in manifest.items() if name.endswith(".safetensors")}
    return Course([_hex(row) for row in read_metrics(folder / "run")], files, trained_steps(folder / LOG))


def _hex(row: dict[str, Any]) -> dict[str, str]:
    """The metrics without times and speeds."""
    kept = {key: row[key] for key in ("kind", "step", "epoch", "loss", "lr", "grad_norm") if key in row}
    return {key: value.hex() if isinstance(value, float) else str(value) for key, value in kept.items()}


def lives(log: Path) -> list[list[Line]]:
    """The steps of each process that worked on a run, in order; a line that a kill cut off is left out."""
    found: list[list[Line]] = []
    for text in log.read_text(encoding="utf-8").split("\n")[:-1]:
        line = json.loads(text)
        if line == "start":
            found.append([])
        else:
            found[-1].append(line)
    return found


def trained_steps(log: Path) -> list[Line]:
    """The records of each step of the finished run, by the last time that it was computed.

    Raises AssertionError when a process skips a step, begins behind what was done, or makes a step of other records.
    """
    last: dict[int, Line] = {}
    for life in lives(log):
        numbers = [line["step"] for line in life]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True, f"skipped: {numbers}"
        assert not numbers or numbers[0] <= max(last, default=0) + 1, f"begins at {numbers[0]} after {max(last)}"
        for line in life:
            assert last.setdefault(line["step"], line) == line, f"step {line['step']} has other records"
    return [last[number] for number in sorted(last)]


def differences(found: Course, expected: Course) -> list[str]:
    """What differs, in words; empty if nothing does."""
    told = [f"{len(found.rows)} rows for {len(expected.rows)}"] if len(found.rows) != len(expected.rows) else []
    told += [f"row {a} for {b}" for a, b in zip(found.rows, expected.rows, strict=False) if a != b][:3]
    told += [f"{name} differs" for name in expected.files if found.files.get(name) != expected.files[name]]
    told += [f"step {b['step']}: {a} for {b}" for a, b in zip(found.steps, expected.steps, strict=False) if a != b][:3]
    return told + (["other steps"] if len(found.steps) != len(expected.steps) else [])


def refuse_uneven(course: Course, steps: int) -> None:
    """Check the reference: all steps, several packs in each, every record once an epoch."""
    assert [line["step"] for line in course.steps] == list(range(1, steps + 1))
    assert sum(len(line["packs"]) > 1 for line in course.steps) > steps / 2, "too few steps of several packs"
    order = [index for line in course.steps for pack in line["packs"] for index in pack]
    records = len(set(order))
    for start in range(0, len(order), records):
        assert max(Counter(order[start : start + records]).values()) == 1, "a record is twice in an epoch"


def torn(folder: Path) -> list[str]:
    """Folders with a checkpoint's name that are not complete; there must be none."""
    found: list[str] = []
    for checkpoint in list_checkpoints(folder / "run"):
        try:
            read_progress(checkpoint)
        except CheckpointError as error:
            found.append(str(error))
    return found
