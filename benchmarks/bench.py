"""`make bench`: Eyegraft against TRL on the same rows, weights and samples a step, in alternating blocks.

Every block is a process of its own; loading and compiling are not counted, waiting for data is. Figures land in
`benchmarks/results/cpu.json`.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import seconds_a_step, spread
from benchmarks.folders import TOWERS, make_folder
from benchmarks.work import ASSETS, PICTURES, WORKS, Work, write_data

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to train: which side runs it, and what is set there."""

    name: str
    side: str
    micro_batch: int = 0
    options: tuple[tuple[str, Any], ...] = ()
    train: tuple[tuple[str, Any], ...] = ()
    blocks: int = 9  # at most; what is much slower is measured once


def contenders(work: Work) -> list[Contender]:
    """Eyegraft as it comes; TRL as it comes; and TRL with everything we know of that makes it faster."""
    tuned: tuple[tuple[str, Any], ...] = (("gradient_checkpointing", False),)
    if work.stage == "sft":
        tuned += (("packing", True),)
    return [
        Contender("eyegraft", "ours"),
        Contender("trl", "trl_side", micro_batch=min(8, work.batch), blocks=1),
        Contender("trl tuned", "trl_side", micro_batch=min(8, work.batch), options=tuned),
    ]


def ablations() -> list[Contender]:
    """Each saving alone switched off."""
    return [
        Contender("eyegraft, no folding", "ours", train=(("fold", "off"),)),
        Contender("eyegraft, no kept features", "ours", options=(("cache_features", "off"),)),
    ]


def main() -> None:
    """Run, print and write."""
    asked = argparse.ArgumentParser(prog="make bench")
    asked.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    asked.add_argument("--towers", nargs="+", default=["vit"], choices=TOWERS)
    asked.add_argument("--blocks", type=int, default=2)
    asked.add_argument("--ablations", action="store_true")
    args = asked.parse_args()
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for work in map(WORKS.__getitem__, args.works):
            for tower in args.towers if work.stage != "sft" else [""]:
                rows += compare(work, tower, Path(folder), args.blocks, args.ablations)
                write(rows, time.perf_counter() - began)
    print(table(rows))


def write(rows: list[dict[str, Any]], seconds: float) -> None:
    """What was measured so far: a run that is cut keeps its figures."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m benchmarks.bench", *sys.argv[1:]])
    result = {"machine": machine(), "command": command, "seconds": round(seconds), "rows": rows}
    (RESULTS / "cpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def compare(work: Work, tower: str, folder: Path, blocks: int, ablate: bool) -> list[dict[str, Any]]:
    """One row a contender: samples a second over all blocks, and the ratio to ours."""
    data = write_data(work, folder)
    everyone = contenders(work) + (ablations() if ablate and work.stage != "sft" else [])
    seconds: dict[str, list[float]] = {one.name: [] for one in everyone}
    peaks: dict[str, float] = {}
    for block in range(blocks):
        for one in everyone:
            if block >= one.blocks:
                continue
            found = run(one, work, tower, data, folder / f"{work.name}-{tower}-{block}")
            seconds[one.name] += seconds_a_step(found["ends"], work.warmup)
            peaks[one.name] = max(peaks.get(one.name, 0.0), found["peak_gib"])
            print(f"{work.name} {tower or 'text'} block {block} {one.name}: {median(seconds[one.name]):.2f} s a step")
    ours = median(seconds["eyegraft"])
    return [
        {
            "work": work.name,
            "tower": tower,
            "contender": name,
            "samples_per_s": spread([work.batch / value for value in values]),
            "ours_is_faster": round(median(values) / ours, 2),
            "peak_gib": round(peaks[name], 2),
        }
        for name, values in seconds.items()
    ]


def run(one: Contender, work: Work, tower: str, data: Path, folder: Path) -> dict[str, Any]:
    """One block of one contender, in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    spec = {
        "work": asdict(work),
        "data": str(data),
        "images": "" if work.stage == "sft" else str(PICTURES),
        "out": str(folder / "run"),
        "micro_batch": one.micro_batch,
        "options": dict(one.options),
        "train": dict(one.train),
        "pack_tokens": 2048,
        "llm": str(ASSETS / "smollm2"),
        **make_folder(work, tower, folder.parent),
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    command = [sys.executable, "-m", f"benchmarks.{one.side}", str(folder / "spec.json"), str(folder / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{one.name} on {work.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def machine() -> dict[str, str]:
    """Where the figures come from."""
    names = ("torch", "transformers", "peft", "trl")
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return {"cpu": cpu, "python": platform.python_version()} | {name: version(name) for name in names}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| work | tower | | samples/s | Eyegraft is | peak GiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        rate = row["samples_per_s"]
        lines.append(
            f"| {row['work']} | {row['tower']} | {row['contender']} | {rate['median']:.2f} "
            f"({rate['min']:.2f} to {rate['max']:.2f}) | {row['ours_is_faster']:.1f}x | {row['peak_gib']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
