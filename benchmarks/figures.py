"""Result rows from measured steps: speed in samples and tokens without padding, memory, and comparisons."""

from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.entries import Entry, Group

Steps = dict[str, list[dict[str, float]]]  # the facts of each step, by the entry's name


def status_gib(field: str) -> float:
    """A field of /proc/self/status that is given in KiB, in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**20


def spread(values: list[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def check_samples(entry: Entry, step: dict[str, float], batch: int) -> None:
    """Raise AssertionError unless a step trained `batch` samples; TRL's packed text is exempt."""
    held = step["samples"]
    assert entry.packs or held == batch, f"{entry.name} trained {held} samples in a step, not {batch}"


def result_rows(group: Group, steps: Steps, peak_dtype: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One result row per entry: samples per second, for text tokens per second without padding.

    `peak_dtype`: dtype of the machine's fastest products; `facts` are added to each row.
    """
    unit = "tokens" if group.work.stage == "sft" else "samples"
    speeds = {name: [step[unit] / step["seconds"] for step in taken] for name, taken in steps.items()}
    same: dict[str, Any] = {"kind": group.kind, "work": group.work.name, "tower": group.tower, "unit": unit}
    same |= {"day": str(date.today()), **facts}
    rows = []
    for entry in group.entries:
        row = same | {"who": entry.name, "per_s": spread(speeds[entry.name])}
        row["ours_is_faster"] = round(median(speeds[group.entries[0].name]) / median(speeds[entry.name]), 2)
        rows.append(row | _held(entry, steps[entry.name]) | _share(steps[entry.name]))
    best = median(step["best"] for step in steps[group.entries[0].name])
    rows[0] |= {"peak_tflops": round(best / 1e12, 3), "peak_dtype": peak_dtype}
    return rows


def _held(entry: Entry, taken: list[dict[str, float]]) -> dict[str, Any]:
    total: dict[str, float] = defaultdict(float)
    for step in taken:
        for name in ("samples", "tokens", "rows"):
            total[name] += step[name]
    row: dict[str, Any] = {"steps": len(taken), "samples_a_step": round(total["samples"] / len(taken), 1)}
    if entry.packs:
        row["note"] = "packs rows full: other samples a step than the others, compare tokens a second"
    row["rows_a_token"] = round(total["rows"] / total["tokens"], 3)  # above 1: padding; below: shared prefixes
    return row | {"peak_gib": round(max(step["peak_gib"] for step in taken), 2)}


def _share(taken: list[dict[str, float]]) -> dict[str, float]:
    """Achieved share of the machine's peak FLOP/s, counting only operations that every trainer needs."""
    if "flops" not in taken[0]:
        return {}
    return {"share_of_peak": round(median(step["flops"] / step["seconds"] / step["best"] for step in taken), 3)}
