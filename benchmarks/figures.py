"""What was measured becomes rows: speeds of real samples and tokens, memory, and how they compare."""

from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.entries import Entry, Group

Steps = dict[str, list[dict[str, float]]]  # by entry, what its contender told of each step


def status_gib(field: str) -> float:
    """A line of /proc/self/status that counts KiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 2**20


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def assert_whole(entry: Entry, step: dict[str, float], batch: int) -> None:
    """A step holds the work's samples, ours as the peers'; only TRL's packed text fills rows instead."""
    held = step["samples"]
    assert entry.packs or held == batch, f"{entry.name} trained {held} samples in a step, not {batch}"


def rows_of(group: Group, steps: Steps, peak_dtype: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row an entry: samples a second, tokens a second for text, whose samples are of many lengths; never padding.

    `peak_dtype` is that of the machine's best products; `facts` go into every row.
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
    row["rows_a_token"] = round(total["rows"] / total["tokens"], 3)  # above 1: padding; below: shared beginnings
    return row | {"peak_gib": round(max(step["peak_gib"] for step in taken), 2)}


def _share(taken: list[dict[str, float]]) -> dict[str, float]:
    """Of the machine's best matrix product then, by the operations that no trainer could leave out."""
    if "flops" not in taken[0]:
        return {}
    return {"share_of_peak": round(median(step["flops"] / step["seconds"] / step["best"] for step in taken), 3)}
