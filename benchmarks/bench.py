"""`make bench`: Eyegraft against TRL and transformers' Trainer on the same rows, weights and samples a step.

Everyone loads once, warms up with a step (the peers with a micro-batch), and then trains steps in turns, block after
block, alone on the machine. Loading and compiling are not counted, waiting for data is. Figures land in
`benchmarks/results/cpu.json`.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.figures import spread
from benchmarks.folders import TOWERS, make_folder
from benchmarks.gate import Contender
from benchmarks.work import ASSETS, PICTURES, WORKS, Work, write_data

RESULTS = Path("benchmarks/results")
OURS = "Eyegraft"


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to train: which side runs it, and what is set there."""

    name: str
    module: str
    trainer: str = ""
    micro_batch: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    blocks: int = 2  # the slow ones take part in the first only
    steps: int = 1  # a block


def entries(work: Work, everyone: bool) -> list[Entry]:
    """Eyegraft as it comes; TRL with all we know of that makes it faster; and, if `everyone`, the peers as they come.

    TRL's packing of text is one of the two faster ways; it does not pack pictures. With the ablations, each saving is
    switched off alone.
    """
    micro, quick = min(8, work.batch), {"gradient_checkpointing": False}
    packs = {"packing": True} if work.stage == "sft" else {}
    found = [
        Entry(OURS, "ours", steps=3),
        Entry("TRL, tuned", "peers", "trl", micro, quick | packs),
    ]
    if not everyone:
        return found
    found += [
        Entry("TRL", "peers", "trl", micro, blocks=1),
        Entry("HF Trainer", "peers", "transformers", micro, blocks=1),
    ]
    if work.stage == "finetune" and work.name == "questions":
        found += [
            Entry("Eyegraft, no folding", "ours", train={"fold": "off"}, blocks=1),
            Entry("Eyegraft, no kept features", "ours", options={"cache_features": "off"}, blocks=1, steps=2),
            Entry("Eyegraft, recompute: selective", "ours", train={"recompute": "selective"}, steps=2),
        ]
    return found


def main() -> None:
    """Run, print and write."""
    asked = argparse.ArgumentParser(prog="make bench")
    asked.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    asked.add_argument("--towers", nargs="+", default=list(TOWERS), choices=TOWERS)
    asked.add_argument("--blocks", type=int, default=2)
    args = asked.parse_args()
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.works:
            work = WORKS[name]
            for tower in args.towers if work.stage != "sft" else [""]:
                everyone = tower in ("", args.towers[0])
                rows += compare(work, tower, Path(folder), args.blocks if everyone else 1, everyone)
                write(rows, time.perf_counter() - began)
    print(table(rows))


def write(rows: list[dict[str, Any]], seconds: float) -> None:
    """What was measured so far: a run that is cut keeps its figures, and works that were not run keep theirs."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file, here = RESULTS / ("gpu.json" if torch.cuda.is_available() else "cpu.json"), machine()
    before: dict[str, Any] = {"machine": here, "rows": []}
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
    again = {(row["work"], row["tower"]) for row in rows}
    kept = [row for row in before["rows"] if (row["work"], row["tower"]) not in again and before["machine"] == here]
    result = {"machine": here, "seconds": round(seconds), "rows": kept + rows}
    if not torch.cuda.is_available():
        result["gpu"] = "not measured: there is none here; on a machine with one the same command writes gpu.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def compare(work: Work, tower: str, folder: Path, blocks: int, everyone: bool) -> list[dict[str, Any]]:
    """One row an entry: speed over all its steps, and how many times faster ours is."""
    spec = common(work, tower, folder)
    place = folder / f"{work.name}-{tower}"
    taking_part = entries(work, everyone)
    processes: dict[str, Contender] = {}
    try:
        for number, entry in enumerate([*taking_part, Entry("peak", "peak")]):
            at = place / f"{number}"
            processes[entry.name] = Contender(entry.module, spec | told(entry, at), at)
        for process in processes.values():
            process.hear()  # the warm-up, which all do at once
        steps: dict[str, list[dict[str, float]]] = {name: [] for name in processes}
        for block in range(blocks):
            for entry in taking_part:
                if block < entry.blocks:
                    steps[entry.name] += [processes[entry.name].step() for _ in range(entry.steps)]
                    steps["peak"].append(processes["peak"].step())
                    say(work, tower, block, entry.name, steps[entry.name][-entry.steps :])
    finally:
        for process in processes.values():
            process.end()
    rows = figures(work, tower, steps)
    if everyone and work.name == "questions":
        rows[0]["input_wait"] = waiting(spec, place / "free")
    return rows


def common(work: Work, tower: str, folder: Path) -> dict[str, Any]:
    """What every side is told."""
    return {
        "work": asdict(work),
        "data": str(write_data(work, folder)),
        "images": "" if work.stage == "sft" else str(PICTURES),
        "llm": str(ASSETS / "smollm2"),
        **make_folder(work, tower, folder),
    }


def told(entry: Entry, folder: Path, free: bool = False) -> dict[str, Any]:
    """What one entry is told besides."""
    kinds = {"trainer": entry.trainer, "micro_batch": entry.micro_batch, "free": free}
    return kinds | {"options": entry.options, "train": entry.train, "out": str(folder / "run")}


def waiting(spec: dict[str, Any], folder: Path) -> float:
    """Share of the time that our steps wait for their batches when nobody holds them up between."""
    process = Contender("ours", spec | told(Entry(OURS, "ours", train={"max_steps": 6}), folder, free=True), folder)
    share = process.hear()["input_wait"]
    process.end()
    return share


def say(work: Work, tower: str, block: int, name: str, steps: list[dict[str, float]]) -> None:
    """Progress, a line a block."""
    seconds = ", ".join(f"{step['seconds']:.2f}" for step in steps)
    print(f"{work.name} {tower or 'text'} block {block} {name}: {seconds} s a step", flush=True)


def figures(work: Work, tower: str, steps: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Samples a second, tokens a second for text, whose samples are of many lengths; real ones, never padding."""
    unit = "tokens" if work.stage == "sft" else "samples"
    peak = median(step["flops_per_s"] for step in steps.pop("peak"))
    speeds = {name: [step[unit] / step["seconds"] for step in taken] for name, taken in steps.items()}
    command = " ".join(["python -m benchmarks.bench", *sys.argv[1:]])
    rows = []
    for name, taken in steps.items():
        row: dict[str, Any] = {"work": work.name, "tower": tower, "who": name, "unit": unit, "day": str(date.today())}
        row |= {"command": command, "per_s": spread(speeds[name]), "steps": len(taken)}
        row["ours_is_faster"] = round(median(speeds[OURS]) / median(speeds[name]), 2)
        row["peak_gib"] = round(max(step["peak_gib"] for step in taken), 2)
        if "flops" in taken[0]:
            row["share_of_bf16_peak"] = round(median(step["flops"] / step["seconds"] for step in taken) / peak, 2)
            row["rows_a_token"] = round(sum(step["rows"] for step in taken) / sum(step["tokens"] for step in taken), 3)
        rows.append(row)
    rows[0]["bf16_peak_tflops"] = round(peak / 1e12, 2)
    return rows


def machine() -> dict[str, str]:
    """Where the figures come from."""
    names = ("torch", "transformers", "peft", "trl")
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    card = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return card | {"cpu": cpu, "python": platform.python_version()} | {name: version(name) for name in names}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| work | tower | | a second | Eyegraft is | peak GiB | of bf16 peak |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        rate, title = row["per_s"], WORKS[row["work"]].title
        speed = f"{rate['median']:.2f} {row['unit']} ({rate['min']:.2f} to {rate['max']:.2f})"
        rest = f"{row['ours_is_faster']:.1f}x | {row['peak_gib']:.1f} | {row.get('share_of_bf16_peak', '')}"
        lines.append(f"| {title} | {row['tower']} | {row['who']} | {speed} | {rest} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
