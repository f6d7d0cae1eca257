"""The soak's results as a document and as a Markdown table for docs/benchmarks/survival.md."""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from typing import Any

from tests.soak.cases import CASES, Verdict

PROMISES = {
    "killed after a step": "SIGKILL after each of 20 steps",
    "killed at a random instant": "SIGKILL at a random instant",
    "killed inside a save": "SIGKILL inside a save",
    "asked to stop": "SIGTERM (every fifth: SIGINT)",
    "all checkpoints damaged": "every checkpoint damaged: refused, nothing changed",
    "newest checkpoint damaged": "newest damaged: set aside, the one before goes on",
}


def revision() -> str:
    """The commit that is tested, with a plus if files differ from it."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def document(verdicts: list[Verdict], refusals: int | str, tried: str, seconds: float, scale: float) -> dict[str, Any]:
    """The content of soak.json; `tried` is the revision at the start."""
    return {
        "command": "make soak" if scale == 1 else f"python -m tests.soak --scale {scale:g}",
        "date": f"{date.today()}",
        "revision": tried,
        "machine": machine(),
        "seconds": round(seconds),
        "rows": [_row(what, [verdict for verdict in verdicts if verdict.case.what == what]) for what in CASES],
        "full_disk_refusals": refusals,
        "wrong": [f"{verdict.case.name}: {'; '.join(verdict.wrong)}" for verdict in verdicts if verdict.wrong],
        "cases": [{"case": verdict.case.name, "where": verdict.where} for verdict in verdicts],
    }


def machine() -> dict[str, Any]:
    """The machine and versions."""
    packages = ("torch", "transformers", "peft", "deepspeed", "safetensors", "numpy")
    cores = {"cpu": _cpu(), "cores": len(_cores()), "python": platform.python_version()}
    return cores | {name: version(name) for name in packages}


def _row(what: str, verdicts: list[Verdict]) -> dict[str, Any]:
    kinds = sorted({verdict.case.kind for verdict in verdicts})
    return {
        "what": what,
        "cases": len(verdicts),
        "by_kind": {kind: sum(verdict.case.kind == kind for verdict in verdicts) for kind in kinds},
        "in_a_save": sum(verdict.where.startswith("in a save") for verdict in verdicts),
        "as_promised": sum(not verdict.wrong for verdict in verdicts),
        "slowest_stop_s": round(max((verdict.took for verdict in verdicts), default=0.0), 2),
        "seconds": round(sum(verdict.seconds for verdict in verdicts)),
    }


def table(found: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    where = found["machine"]
    versions = ", ".join(f"{name} {where[name]}" for name in where if name not in ("cpu", "cores"))
    lines = [
        f"`{found['command']}`, {found['date']}, revision {found['revision']}: {found['seconds'] / 60:.1f} minutes on "
        f"{where['cores']} cores ({where['cpu']}); {versions}.",
        "",
        "| what happened | runs | of them inside a save | as promised |",
        "|---|---|---|---|",
    ]
    for row in found["rows"]:
        kinds = ", ".join(f"{kind} {count}" for kind, count in row["by_kind"].items())
        in_a_save = row["in_a_save"] if row["what"].startswith("killed") else "-"
        lines.append(f"| {PROMISES[row['what']]} | {row['cases']} ({kinds}) | {in_a_save} | {row['as_promised']} |")
    lines.append(
        f"| a save on a full disk (tmpfs, a page larger each time) | {found['full_disk_refusals']} | - | all |"
    )
    return "\n".join(lines)


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        return next((line.split(":")[1].strip() for line in stream if line.startswith("model name")), "unknown CPU")


def _cores() -> set[int]:
    return os.sched_getaffinity(0)
