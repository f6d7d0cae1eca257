"""The public command over the committed models, data and recipes, in an environment that gives the same bits anywhere.

A workspace is a folder with a copy of `material` in it, and the command runs there: nothing in a run folder says where
the workspace was. Encoded records are kept under a hash of their source's absolute path and modification time, so the
recipes name their data from `/proc/self/cwd`, and every file of a workspace has the same time.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

GOLDEN = Path(__file__).resolve().parent
ROOT = GOLDEN.parents[1]
LOSSES = GOLDEN / "losses.json"
OLD_LOSSES = GOLDEN / "old_losses.json"  # what the version that wrote `old` recorded
EYEGRAFT = Path(sys.executable).with_name("eyegraft")
RUNS = ("pretrain", "full", "lora", "qlora", "bf16", "text", "identity")
MODIFIED = 1_700_000_000  # when each file of a workspace was changed last
# One order of sums, by instructions that every x86-64 CPU has. Without any of the first three, or with two threads of
# MKL, figures change from the first steps on. With all of them an AMD EPYC that has AVX-512 and bf16 products and a
# Haswell played by qemu gave equal bits. No setting helps one thing: where a CPU has AVX-512, bitsandbytes 0.50.2
# restores a 4-bit weight wrongly whose rows are no multiple of its block of 64. The model of `qlora` has none such.
SAME_BITS = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
ENVIRONMENT = {**SAME_BITS, **QUIET, "PYTHONPATH": str(ROOT)}

Figures = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a workspace's runs and evaluations came to."""

    versions: dict[str, str]  # of what decides about bits
    runs: Figures  # run -> "train 1 loss" -> its figure in hexadecimal
    answers: dict[str, Any]

    @classmethod
    def recorded(cls, file: Path = LOSSES) -> Self:
        """The figures in a file."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    @classmethod
    def of(cls, workspace: Path, *runs: str) -> Self:
        """The figures in the folders of these runs and of both evaluations."""
        packages = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "pillow")
        versions = {name: version(name) for name in packages} | {"libc": " ".join(platform.libc_ver())}
        return cls(versions, {run: _figures(workspace / "out" / run) for run in runs}, _answers(workspace / "out"))


def make_workspace(folder: Path, *trees: str) -> Path:
    """Copy the material, and further folders of this package, into `folder`."""
    for tree in ("material", *trees):
        shutil.copytree(GOLDEN / tree, folder, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        os.utime(path, (MODIFIED, MODIFIED))
    return folder


def command(recipe: str) -> list[str]:
    """What trains one of the committed recipes in a workspace."""
    return [str(EYEGRAFT), "train", f"recipes/{recipe}.yaml"]


def train(workspace: Path, recipe: str) -> str:
    """Train a recipe to its end; returns what was printed."""
    environment = os.environ | ENVIRONMENT
    ended = subprocess.run(command(recipe), cwd=workspace, env=environment, capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, f"{' '.join(ended.args)} ended with {ended.returncode}:\n{said[-4000:]}"
    return said


def differences(found: Found, recorded: Found) -> list[str]:
    """One line for each figure of the found runs that is not the recorded one, and for each that only one side has."""
    lines = []
    for run, figures in found.runs.items():
        expected = recorded.runs[run]
        for name in [*expected, *(name for name in figures if name not in expected)]:
            before, now = expected.get(name, "missing"), figures.get(name, "missing")
            if before != now:
                lines.append(f"{run}, {name}: expected {before}, found {now}{_apart(before, now)}")
    if lines and found.versions != recorded.versions:
        lines.append(f"recorded with {recorded.versions}, found with {found.versions}")
    return lines


def _apart(before: str, now: str) -> str:
    if "missing" in (before, now):
        return ""
    old, new = float.fromhex(before), float.fromhex(now)
    return f", relative difference {abs(new - old) / max(abs(old), 1e-30):.1e}"


def _figures(run: Path) -> dict[str, str]:
    figures: dict[str, str] = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for key in ("loss", "grad_norm"):
            if key in row:
                name = f"{row['kind']} {row['step']} {key}"
                assert name not in figures, f"{run}: {name} occurs twice in the metrics"
                figures[name] = float(row[key]).hex()
    return figures


def _answers(out: Path) -> dict[str, Any]:
    files = ("eval_before/eval.json", "eval/eval.json", "eval_identity/eval.json", "eval_identity/answers.json")
    return {name: json.loads((out / name).read_text(encoding="utf-8")) for name in files}
