"""`make bench`: Eyegraft against TRL and transformers' Trainer on the same rows, weights and samples a step.

Everyone loads once, warms up with a step (the peers with a micro-batch), and then trains steps in turns, block after
block. But for imports nobody runs beside another. Loading and compiling are not counted, waiting for data is.
Figures land in `benchmarks/results/cpu.json`, with a card in `gpu.json`; `--pages FILE...` writes them between marks.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.entries import OURS, Entry, Group, groups
from benchmarks.figures import Steps, assert_whole, rows_of
from benchmarks.folders import TOWERS, make_folder
from benchmarks.gate import Contender
from benchmarks.machine import machine
from benchmarks.packed import fullness
from benchmarks.peak import faster
from benchmarks.table import markdown, read_results, write_between
from benchmarks.work import ASSETS, PICTURES, WORKS, Work, lengths, write_data

RESULTS = Path("benchmarks/results")
FREE_STEPS = 3  # without turns, to see how long a step waits for its batches
PLANNED = 100_000  # texts whose packing is rated


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the benchmark: where its files lie, since when it runs and until when it may."""

    folder: Path
    command: str
    dtype: str  # what everyone trains in
    peak_dtype: str  # of the machine's best product
    began: float
    limit: float  # seconds
    pack_tokens: int
    taken: dict[str, float] = field(default_factory=dict)  # seconds an entry, by the group's kind and work

    @property
    def seconds(self) -> float:
        """So far."""
        return time.perf_counter() - self.began

    def may_begin(self, group: Group) -> bool:
        """Whether a group whose entries take as long as its work's so far, or the slowest so far, would end in time."""
        each = self.taken.get(f"{group.kind} {group.work.name}", max(self.taken.values(), default=0.0))
        return self.seconds + each * len(group.entries) < self.limit


def main() -> None:
    """Run, print and write; or write the tables of docs/benchmarks/speed.md from what was measured."""
    asked = argparse.ArgumentParser(prog="make bench")
    asked.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    asked.add_argument("--towers", nargs="+", default=list(TOWERS), choices=TOWERS)
    asked.add_argument("--kinds", nargs="+", default=["peers", "ablation"], choices=["peers", "ablation"])
    asked.add_argument("--minutes", type=float, default=20.0, help="what would end later is left out, and named")
    asked.add_argument("--pack-tokens", type=int, default=2048, help="Eyegraft's: smaller packs take less memory")
    asked.add_argument(
        "--pages", type=Path, nargs="+", help="measure nothing; write the tables between these files' marks"
    )
    args = asked.parse_args()
    if args.pages:
        for page in args.pages:
            write_between(page, markdown(*read_results(RESULTS)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = [group for group in groups(args.works, args.towers) if group.kind in args.kinds]
        measure(Path(folder), found, 60 * args.minutes, args.pack_tokens)
    print(markdown(*read_results(RESULTS)))


def measure(folder: Path, found: list[Group], limit: float, pack_tokens: int) -> None:
    """Every group that time allows; the file is written behind each, so a run that is cut keeps its figures."""
    began = time.perf_counter()
    facts = settled(folder)
    command = " ".join(["python -m benchmarks.bench", *sys.argv[1:]])
    run = Run(folder, command, facts["dtype"], facts["peak_dtype"], began, limit, pack_tokens)
    rows: list[dict[str, Any]] = []
    facts |= {"command": command, "packing": packing()}
    left_out = []
    for number, group in enumerate(found):
        name = f"{group.work.name} {group.tower or 'text'} {group.kind}"
        if group.kind == "ablation":
            name += f" ({', '.join(entry.name for entry in group.entries[1:])})"
        if run.may_begin(group):
            before = run.seconds
            rows += compare(group, run, folder / f"group-{number}")
            run.taken[f"{group.kind} {group.work.name}"] = (run.seconds - before) / len(group.entries)
        else:
            left_out.append(name)
            print(f"[{run.seconds:5.0f} s] {name}: left out, it would end behind the limit", flush=True)
        write(rows, facts | {"seconds": round(run.seconds), "left_out": left_out})


def settled(folder: Path) -> dict[str, Any]:
    """What everyone trains in: the dtype whose products, forward and backward, this machine does faster."""
    process = Contender("peak", {"dtype": ""}, folder / "products")
    process.hear()
    told = process.step()
    process.end()
    dtype = faster(told["training"])
    gflops = {
        kind: {name: round(told[kind][name] / 1e9, 1) for name in told[kind]} for kind in ("products", "training")
    }
    note = f"{dtype} is the faster here and everyone trains in it; TRL's own default is bf16"
    print(f"dtype: {note}; GFLOP/s {gflops}", flush=True)
    return {"dtype": dtype, "dtype_note": note, "peak_dtype": faster(told["products"]), "gflops": gflops}


def packing() -> dict[str, Any]:
    """How full `fill` packs texts like those of the benchmark, against what is possible."""
    return fullness(np.array(lengths(PLANNED)), 2048)


def write(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """What was measured so far; works that were not run keep the figures that this machine had before."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file, here = RESULTS / ("gpu.json" if torch.cuda.is_available() else "cpu.json"), machine()
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"machine": {}}
    kept = before["rows"] if before["machine"] == here else []
    again = {key(row) for row in rows}
    result = {"machine": here, **facts, "rows": [row for row in kept if key(row) not in again] + rows}
    if not torch.cuda.is_available():
        result["gpu"] = "not measured: there is none here; on a machine with one the same command writes gpu.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    """What a group's rows have in common."""
    return row["kind"], row["work"], row["tower"]


def compare(group: Group, run: Run, place: Path) -> list[dict[str, Any]]:
    """A group's rows; its files lie in `place`, weights in the run's folder."""
    place.mkdir()
    spec = common(group.work, group.tower, run.folder, place)
    spec |= {"dtype": run.dtype, "pack_tokens": run.pack_tokens}
    processes: dict[str, Contender] = {}
    try:
        start(group, spec, place, run.peak_dtype, processes)
        steps = take_turns(group, run, processes)
    finally:
        for process in processes.values():
            process.end()
    facts = {"dtype": run.dtype, "command": run.command}
    rows = rows_of(group, steps, run.peak_dtype, facts)
    if group.kind == "peers" and (group.work.name, group.tower) == ("questions", TOWERS[0]):
        rows[0]["input_wait"] = waiting(spec, place / "free")
    return rows


def start(group: Group, spec: dict[str, Any], place: Path, peak_dtype: str, processes: dict[str, Contender]) -> None:
    """Fill `processes` with everyone, loaded and warmed up.

    Imports are one thread's work: two at a time. Loading is more (Eyegraft tries its first pack, the tower's statistics
    are taken), and threads of two that multiply at once wait for each other's: one by one.
    """
    specs = {entry.name: (entry.module, spec | told(entry, place / f"{i}")) for i, entry in enumerate(group.entries)}
    importing: list[Contender] = []
    for number, (name, (module, settings)) in enumerate((specs | {"peak": ("peak", {"dtype": peak_dtype})}).items()):
        processes[name] = Contender(module, settings, place / f"{number}")
        importing.append(processes[name])
        if len(importing) > 1:
            importing.pop(0).hear()
    for process in importing:
        process.hear()
    for entry in group.entries:
        processes[entry.name].step()  # loads
        processes[entry.name].step()  # warms up


def take_turns(group: Group, run: Run, processes: dict[str, Contender]) -> Steps:
    """What each step of each entry came to; where it counts operations, with the machine's `best` right behind it.

    Who has no block left is ended, for its memory, and taken out of `processes`.
    """
    steps: Steps = defaultdict(list)
    for block in range(max(entry.blocks for entry in group.entries)):
        for entry in (entry for entry in group.entries if block < entry.blocks):
            taken = [processes[entry.name].step() for _ in range(entry.steps)]
            for step in taken:
                assert_whole(entry, step, group.work.batch)
            if "flops" in taken[0]:  # a host's speed changes within a minute
                best = processes["peak"].step()["flops_per_s"]
                taken = [step | {"best": best} for step in taken]
            steps[entry.name] += taken
            say(run, group, block, entry.name, taken)
            if block + 1 == entry.blocks:
                processes.pop(entry.name).end()
    return steps


def common(work: Work, tower: str, folder: Path, place: Path) -> dict[str, Any]:
    """What every side is told."""
    return {
        "work": asdict(work),
        "data": str(write_data(work, place)),
        "images": "" if work.stage == "sft" else str(PICTURES),
        "llm": str(ASSETS / "smollm2"),
        **make_folder(work, tower, folder),
    }


def told(entry: Entry, folder: Path, free: bool = False) -> dict[str, Any]:
    """What one entry is told besides."""
    kinds = {"trainer": entry.trainer, "micro_batch": entry.micro_batch, "free": free, "seen": entry.seen}
    return kinds | {"options": entry.options, "train": entry.train, "out": str(folder / "run")}


def waiting(spec: dict[str, Any], folder: Path) -> float:
    """Share of the time that our steps wait for their batches when nobody holds them up between."""
    entry = Entry(OURS, train={"max_steps": FREE_STEPS})
    process = Contender("ours", spec | told(entry, folder, free=True), folder)
    process.hear()
    share: float = process.step()["input_wait"]
    process.end()
    return share


def say(run: Run, group: Group, block: int, name: str, steps: list[dict[str, float]]) -> None:
    """Progress, a line a block."""
    seconds = ", ".join(f"{step['seconds']:.2f}" for step in steps)
    where = f"{group.work.name} {group.tower or 'text'} block {block}"
    print(f"[{run.seconds:5.0f} s] {where} {name}: {seconds} s a step", flush=True)


if __name__ == "__main__":
    main()
