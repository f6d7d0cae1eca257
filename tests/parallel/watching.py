"""`eyegraft train --nproc 2` in a process, and the processes that it started."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm.train.metrics import read_metrics


@contextmanager
def started(recipe: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """The command with two processes, killed at the end in any case."""
    command = [
        sys.executable,
        "-c",
        "from vlm.app.cli import main; main()",
        "train",
        str(recipe),
        "--nproc",
        "2",
        *more,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def workers_of(parent: int) -> list[int]:
    """The processes that a process started."""
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_step(run: Path, step: int) -> None:
    """Wait until the run has logged a step after `step`."""
    for _ in range(6000):
        if any(row["step"] > step for row in read_metrics(run, "train")):
            return
        time.sleep(0.05)
    raise AssertionError(f"no step after {step} within five minutes")
