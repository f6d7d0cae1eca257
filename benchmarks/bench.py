"""`make bench`: Eyegraft against TRL and transformers' Trainer with the same records, weights and samples per step.

Each contender loads once, warms up with a step (the peers with a micro-batch), and then trains blocks of steps in turn
with the others. Apart from imports only one runs at a time. Loading and compilation are not counted, waiting for
data is. Results: `benchmarks/results/cpu.json`, with a GPU `gpu.json`; `--pages FILE...` writes the tables.
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
from benchmarks.figures import Steps, check_samples, result_rows
from benchmarks.folders import SHAPES, TOWERS, make_folder
from benchmarks.gate import Contender
from benchmarks.machine import machine
from benchmarks.packed import fullness
from benchmarks.peak import faster
from benchmarks.table import markdown, read_results, write_between
from benchmarks.work import ASSETS, IMAGES, WORKS, Work, lengths, write_data

RESULTS = Path("benchmarks/results")
FREE_STEPS = 3  # without turns, to measure how long a step waits for its batches
PLANNED = 100_000  # texts of which the packing is rated


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the benchmark: its folder and settings, its start and its time limit."""

    folder: Path
    command: str
    dtype: str  # of all contenders
    peak_dtype: str  # of the machine's fastest matrix product
    began: float
    limit: float  # seconds
    pack_tokens: int
    taken: dict[str, float] = field(default_factory=dict)  # seconds per entry, by the group's kind and work

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def may_begin(self, group: Group) -> bool:
        """Whether a group would end within the limit.

        The estimate for an entry is the time of those of the same kind and work or, without any, the longest so far.
        """
        each = self.taken.get(f"{group.kind} {group.work.name}", max(self.taken.values(), default=0.0))
        return self.seconds + each * len(group.entries) < self.limit


def main() -> None:
    """Measure, print and write results; or write the tables of docs/benchmarks/speed.md from stored results."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--towers", nargs="+", default=list(TOWERS), choices=TOWERS)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    kinds = ["peers", "ablation", "ready"]
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=kinds)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="groups that would end later are left out and listed"
    )
    parser.add_argument("--pack-tokens", type=int, default=2048, help="of Eyegraft; smaller packs take less memory")
    parser.add_argument(
        "--pages", type=Path, nargs="+", help="measure nothing; write the tables between these files' marks"
    )
    args = parser.parse_args()
    if args.pages:
        for page in args.pages:
            write_between(page, markdown(*read_results(RESULTS)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = [group for group in groups(args.works, args.towers, args.shapes) if group.kind in args.kinds]
        measure(Path(folder), found, 60 * args.minutes, args.pack_tokens)
    print(markdown(*read_results(RESULTS)))


def measure(folder: Path, found: list[Group], limit: float, pack_tokens: int) -> None:
    """Measure each group that ends within `limit` seconds; results are written after each group."""
    began = time.perf_counter()
    facts = choose_dtype(folder)
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
            print(f"[{run.seconds:5.0f} s] {name}: left out, it would end after the limit", flush=True)
        write(rows, facts | {"seconds": round(run.seconds), "left_out": left_out})


def choose_dtype(folder: Path) -> dict[str, Any]:
    """The dtype of all contenders: the one whose forward and backward products are faster on this machine."""
    process = Contender("peak", {"dtype": ""}, folder / "products")
    process.receive()
    speeds = process.step()
    process.end()
    dtype = faster(speeds["training"])
    gflops = {
        kind: {name: round(speeds[kind][name] / 1e9, 1) for name in speeds[kind]} for kind in ("products", "training")
    }
    note = f"{dtype} is the faster here and all train in it; TRL's own default is bf16"
    print(f"dtype: {note}; GFLOP/s {gflops}", flush=True)
    return {"dtype": dtype, "dtype_note": note, "peak_dtype": faster(speeds["products"]), "gflops": gflops}


def packing() -> dict[str, Any]:
    """How full the packs of `fill` are on texts like those of the benchmark, and the lower bounds."""
    return fullness(np.array(lengths(PLANNED)), 2048)


def write(rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Write the results so far; groups that were not measured keep earlier results of the same machine."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file, here = RESULTS / ("gpu.json" if torch.cuda.is_available() else "cpu.json"), machine()
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"machine": {}}
    kept = before["rows"] if before["machine"] == here else []
    again = {group_key(row) for row in rows}
    result = {"machine": here, **facts, "rows": [row for row in kept if group_key(row) not in again] + rows}
    if not torch.cuda.is_available():
        result["gpu"] = "not measured: this machine has none; on a machine with one the same command writes gpu.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def group_key(row: dict[str, Any]) -> tuple[str, str, str]:
    """The values that all result rows of a group share."""
    return row["kind"], row["work"], row["tower"]


def compare(group: Group, run: Run, place: Path) -> list[dict[str, Any]]:
    """Measure a group and return its result rows; its files are in `place`, weights in the run's folder."""
    place.mkdir()
    spec = shared_settings(group.work, group.tower, run.folder, place)
    spec |= {"dtype": run.dtype, "pack_tokens": run.pack_tokens}
    processes: dict[str, Contender] = {}
    try:
        start(group, spec, place, run.peak_dtype, processes)
        steps = take_turns(group, run, processes)
    finally:
        for process in processes.values():
            process.end()
    facts = {"dtype": run.dtype, "command": run.command}
    rows = result_rows(group, steps, run.peak_dtype, facts)
    if group.kind == "peers" and (group.work.name, group.tower) == ("questions", TOWERS[0]):
        rows[0]["input_wait"] = input_wait_share(spec, place / "free")
    return rows


def start(group: Group, spec: dict[str, Any], place: Path, peak_dtype: str, processes: dict[str, Contender]) -> None:
    """Start all contenders, load them and warm them up; they are added to `processes`.

    Imports use one thread, so two processes import at a time. Loading computes with all threads (Eyegraft tries its
    first pack and takes the tower's statistics), so contenders load one after the other.
    """
    specs = {
        entry.name: (entry.module, spec | entry_settings(entry, place / f"{i}"))
        for i, entry in enumerate(group.entries)
    }
    importing: list[Contender] = []
    for number, (name, (module, settings)) in enumerate((specs | {"peak": ("peak", {"dtype": peak_dtype})}).items()):
        processes[name] = Contender(module, settings, place / f"{number}")
        importing.append(processes[name])
        if len(importing) > 1:
            importing.pop(0).receive()
    for process in importing:
        process.receive()
    for entry in group.entries:
        processes[entry.name].step()  # loads
        processes[entry.name].step()  # warms up


def take_turns(group: Group, run: Run, processes: dict[str, Contender]) -> Steps:
    """The facts of each step of each entry; if it counts operations, with `best`, the peak FLOP/s measured after it.

    An entry without blocks left is ended, which frees its memory, and removed from `processes`.
    """
    steps: Steps = defaultdict(list)
    for block in range(max(entry.blocks for entry in group.entries)):
        for entry in (entry for entry in group.entries if block < entry.blocks):
            taken = [processes[entry.name].step() for _ in range(entry.steps)]
            for step in taken:
                check_samples(entry, step, group.work.batch)
            if "flops" in taken[0]:  # a host's speed changes within a minute
                best = processes["peak"].step()["flops_per_s"]
                taken = [step | {"best": best} for step in taken]
            steps[entry.name] += taken
            print_progress(run, group, block, entry.name, taken)
            if block + 1 == entry.blocks:
                processes.pop(entry.name).end()
    return steps


def shared_settings(work: Work, tower: str, folder: Path, place: Path) -> dict[str, Any]:
    """Settings that all contenders share."""
    return {
        "work": asdict(work),
        "data": str(write_data(work, place)),
        "images": "" if work.stage == "sft" else str(IMAGES),
        "llm": str(ASSETS / "smollm2"),
        **make_folder(work, tower, folder),
    }


def entry_settings(entry: Entry, folder: Path, free: bool = False) -> dict[str, Any]:
    """Settings of one entry besides the shared ones; `free`: it does not wait for its turns."""
    kinds = {"trainer": entry.trainer, "micro_batch": entry.micro_batch, "free": free, "prefilled": entry.prefilled}
    return kinds | {"options": entry.options, "train": entry.train, "out": str(folder / "run")}


def input_wait_share(spec: dict[str, Any], folder: Path) -> float:
    """Share of the time that Eyegraft waits for its batches in steps without turns."""
    entry = Entry(OURS, train={"max_steps": FREE_STEPS})
    process = Contender("ours", spec | entry_settings(entry, folder, free=True), folder)
    process.receive()
    share: float = process.step()["input_wait"]
    process.end()
    return share


def print_progress(run: Run, group: Group, block: int, name: str, steps: list[dict[str, float]]) -> None:
    """Print the progress, one line per block."""
    seconds = ", ".join(f"{step['seconds']:.2f}" for step in steps)
    where = f"{group.work.name} {group.tower or 'text'} block {block}"
    print(f"[{run.seconds:5.0f} s] {where} {name}: {seconds} s a step", flush=True)


if __name__ == "__main__":
    main()
