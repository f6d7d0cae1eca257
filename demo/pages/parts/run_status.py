"""The status of a run, read from its folder each time: every browser sees the same, also after a reload."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import RunError
from llm.files.regular_files import SETTINGS, read_text
from llm.train.metrics import MetricsLine, format_metrics, iter_metrics
from vlm.run_folders.find import find_folders
from vlm.run_folders.progress import progress_of

RECENT = 5  # metrics lines whose distance is measured
SILENT_SECONDS = 120.0  # without a new line a run may have stopped; more if its lines are further apart
TAIL = 20  # latest log lines shown
REPORTS = ("report.json", "eval.json")
MAX_SAMPLES = 60
HUGE = 1e300  # a plot's axis cannot show larger numbers, infinities or NaN
NEEDED = {
    "train": ("loss", "lr", "tokens_per_s", "memory_gib", "time"),
    "validation": ("loss",),
    "probe": ("score",),
    "evaluation": ("score",),
    "plan": ("steps",),
}


@dataclass(frozen=True, slots=True)
class RunState:
    """The progress of a run. `total` and `left_seconds` are None if unknown."""

    step: int
    total: int | None
    finished: bool
    silent_seconds: float
    silent: bool
    left_seconds: float | None


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything that the page shows of a run."""

    state: RunState
    lines: list[MetricsLine]  # valid lines of metrics.jsonl
    samples: list[list[Any]]  # [step, question, answer], newest first
    report: list[list[str]]  # [metric, value]
    tail: str
    skipped_lines: int = 0  # skipped lines of metrics.jsonl, in a form that training does not write


def find_runs(root: Path) -> tuple[list[str], dict[str, str]]:
    """Folders under `root` with metrics or a report, most recently written first; and unreadable ones with reasons."""
    names = ("metrics.jsonl", *REPORTS)
    written: dict[Path, float] = {}
    skipped: dict[str, str] = {}
    for folder in find_folders(root, names):
        try:
            own = [folder / name for name in names]
            written[folder] = max(file.stat().st_mtime for file in own if file.exists())
        except (OSError, ValueError) as error:  # deleted meanwhile, no permission
            skipped[str(folder.relative_to(root))] = str(error)
    return [str(folder.relative_to(root)) for folder in sorted(written, key=lambda folder: -written[folder])], skipped


def read_run(folder: Path) -> RunView:
    """Read the current status of a run. Raises RunError if its files cannot be read."""
    try:
        found = [line for _, line in iter_metrics(folder)]
        lines = [line for line in found if line is not None and is_valid(line)]
        return RunView(
            state=state_of(folder, lines, time.time()),
            lines=lines,
            samples=read_samples(folder),
            report=read_report(folder),
            tail="\n".join(f"{line['kind']:>10} {line['step']:>6}  {format_metrics(line)}" for line in lines[-TAIL:]),
            skipped_lines=len(found) - len(lines),
        )
    except (OSError, ValueError, RecursionError) as error:  # ValueError: invalid JSON
        raise RunError(f"{folder}: cannot be shown ({error}). Check the files in this folder") from error


def is_valid(line: MetricsLine) -> bool:
    """Whether training could have written the line: an integer step, the metrics of its kind, finite numbers."""
    if type(line.get("step")) is not int:
        return False
    numbers = {key: value for key, value in line.items() if isinstance(value, int | float)}
    needed = NEEDED.get(line["kind"], ())
    return all(key in numbers for key in needed) and all(abs(value) < HUGE for value in numbers.values())


def stamp(folder: Path) -> list[int]:
    """Modification times that change whenever `read_run` would return anything new except elapsed time."""
    times = []
    for name in ("metrics.jsonl", *REPORTS, "samples"):
        with suppress(FileNotFoundError):
            times.append((folder / name).stat().st_mtime_ns)
    return times


def state_of(folder: Path, lines: list[MetricsLine], now: float) -> RunState:
    """The progress of a run, with the remaining time at the speed of its latest lines."""
    progress = progress_of(lines)
    total = progress.steps or _metric(folder, "steps")
    finished = any((folder / name).exists() for name in REPORTS) and (total is None or progress.step >= total)
    latest = (folder / "metrics.jsonl") if lines else folder
    silent = now - latest.stat().st_mtime
    left = None if finished else progress.seconds_left(now)
    return RunState(progress.step, total, finished, silent, silent > _longest_silence(lines), left)


def _longest_silence(lines: list[MetricsLine]) -> float:
    """Seconds without a new line after which a run may have stopped."""
    times = [line["time"] for line in lines if line["kind"] == "train"][-RECENT:]
    between = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0
    return max(SILENT_SECONDS, 5 * between)


def read_samples(folder: Path) -> list[list[Any]]:
    """The sample answers of all steps as [step, question, answer], newest first; invalid entries are skipped."""
    files = sorted((folder / "samples").glob("step-*.json"), reverse=True)
    samples = [
        [int(file.stem.removeprefix("step-")), entry["prompt"], entry["answer"]]
        for file in files
        if file.stem.removeprefix("step-").isdecimal()
        for entry in _list(json.loads(read_text(file, SETTINGS)))
        if isinstance(entry, dict) and isinstance(entry.get("prompt"), str) and isinstance(entry.get("answer"), str)
    ]
    return samples[:MAX_SAMPLES]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def read_report(folder: Path) -> list[list[str]]:
    """The metrics of report.json and eval.json as [name, value]; nested ones have dotted names."""
    files = [folder / name for name in REPORTS if (folder / name).is_file()]
    return [metric for file in files for metric in _flat(json.loads(read_text(file, SETTINGS)))]


def _flat(value: object, name: str = "") -> list[list[str]]:
    if isinstance(value, dict):
        return [metric for key, item in value.items() for metric in _flat(item, f"{name}.{key}" if name else key)]
    return [] if isinstance(value, list) else [[name, str(value)]]


def _metric(folder: Path, name: str) -> int | None:
    return next((int(value) for key, value in read_report(folder) if key == name and value.isdigit()), None)
