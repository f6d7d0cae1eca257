"""What a run folder tells about its run. Nothing is kept: a reload or another browser sees the same."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import RunError
from llm.files.regular_files import SETTINGS, read_text
from llm.train.metrics import Row, each_row, shown

RECENT = 5  # rows that the pace is taken from
SILENT = 120.0  # seconds without a line after which a run may have stopped; longer where its lines are rare
TAIL = 20
REPORTS = ("report.json", "eval.json")
SAMPLES = 60
HUGE = 1e300  # numbers that a plot's axis cannot hold; infinities and NaN are beyond it too
NEEDED = {"train": ("loss", "lr", "tokens_per_s", "memory_gib", "time"), "validation": ("loss",), "plan": ("steps",)}


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is. `total` and `left_seconds` are None where the folder does not tell."""

    step: int
    total: int | None
    finished: bool
    silent_seconds: float
    silent: bool
    left_seconds: float | None


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything the page shows of a run."""

    state: RunState
    rows: list[Row]  # of metrics.jsonl
    samples: list[list[Any]]  # step, question, answer; newest first
    report: list[list[str]]  # figure, value
    tail: str
    odd_rows: int = 0  # lines of metrics.jsonl that training does not write: left out


def find_runs(root: Path) -> tuple[list[str], dict[str, str]]:
    """Folders under `root` that hold metrics or a report, the one written last first; and those that are skipped
    because they cannot be looked at, with the reason."""
    marks = [mark for name in ("metrics.jsonl", *REPORTS) for mark in root.rglob(name)]
    written: dict[Path, float] = {}
    skipped: dict[str, str] = {}
    for folder in {mark.parent for mark in marks}:
        try:
            written[folder] = max(file.stat().st_mtime for file in folder.iterdir() if not file.is_symlink())
        except (OSError, ValueError) as error:  # gone meanwhile, not ours to read, or nothing but links in it
            skipped[str(folder.relative_to(root))] = str(error)
    return [str(folder.relative_to(root)) for folder in sorted(written, key=lambda folder: -written[folder])], skipped


def read_run(folder: Path) -> RunView:
    """The run as its folder shows it now. Raises RunError for a folder that is not a run's, or no longer."""
    try:
        found = [row for _, row in each_row(folder)]
        rows = [row for row in found if row is not None and is_sound(row)]
        return RunView(
            state=state_of(folder, rows, time.time()),
            rows=rows,
            samples=read_samples(folder),
            report=read_report(folder),
            tail="\n".join(f"{row['kind']:>10} {row['step']:>6}  {shown(row)}" for row in rows[-TAIL:]),
            odd_rows=len(found) - len(rows),
        )
    except (OSError, ValueError, RecursionError) as error:  # ValueError: a file that holds no JSON
        raise RunError(f"{folder}: cannot be shown: {error}") from error


def is_sound(row: Row) -> bool:
    """Whether it is a row as training writes it: a whole step, the figures of its kind, and finite numbers."""
    if type(row.get("step")) is not int:
        return False
    numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
    needed = NEEDED.get(row["kind"], ())
    return all(key in numbers for key in needed) and all(abs(value) < HUGE for value in numbers.values())


def stamp(folder: Path) -> list[int]:
    """Changes whenever `watch` would show anything new but the time that went by."""
    times = []
    for name in ("metrics.jsonl", *REPORTS, "samples"):
        with suppress(FileNotFoundError):
            times.append((folder / name).stat().st_mtime_ns)
    return times


def state_of(folder: Path, rows: list[Row], now: float) -> RunState:
    """How far the run is, and how long the rest takes at the pace of its last rows."""
    train = [row for row in rows if row["kind"] == "train"]
    step = train[-1]["step"] if train else 0
    total = next((row["steps"] for row in rows if row["kind"] == "plan"), None) or _figure(folder, "steps")
    finished = any((folder / name).exists() for name in REPORTS) and (total is None or step >= total)
    last = (folder / "metrics.jsonl") if rows else folder
    silent = now - last.stat().st_mtime
    recent = train[-RECENT:]
    if len(recent) < 2:
        return RunState(step, total, finished, silent, silent > SILENT, None)
    seconds = recent[-1]["time"] - recent[0]["time"]
    pace = seconds / (recent[-1]["step"] - recent[0]["step"])
    left = None if total is None or finished else pace * (total - step)
    return RunState(step, total, finished, silent, silent > max(SILENT, 5 * seconds / (len(recent) - 1)), left)


def read_samples(folder: Path) -> list[list[Any]]:
    """Probe answers of all steps: step, question, answer. What does not look like one is left out."""
    files = sorted((folder / "samples").glob("step-*.json"), reverse=True)
    rows = [
        [int(file.stem.removeprefix("step-")), row["prompt"], row["answer"]]
        for file in files
        if file.stem.removeprefix("step-").isdecimal()
        for row in _list(json.loads(read_text(file, SETTINGS)))
        if isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("answer"), str)
    ]
    return rows[:SAMPLES]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def read_report(folder: Path) -> list[list[str]]:
    """The figures of report.json and eval.json; parts of them by dotted names."""
    files = [folder / name for name in REPORTS if (folder / name).is_file()]
    return [row for file in files for row in _flat(json.loads(read_text(file, SETTINGS)))]


def _flat(value: Any, name: str = "") -> list[list[str]]:
    if isinstance(value, dict):
        return [row for key, item in value.items() for row in _flat(item, f"{name}.{key}" if name else key)]
    return [] if isinstance(value, list) else [[name, str(value)]]


def _figure(folder: Path, name: str) -> int | None:
    return next((int(value) for key, value in read_report(folder) if key == name and value.isdigit()), None)
