"""`eyegraft train --nproc 2` as a process of its own, and a look at what it started."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm.train.metrics import read_metrics


@contextmanager
def started(recipe: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, two processes under it, killed at the end whatever happens."""
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
    """Whether a process runs; one that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_step(run: Path, step: int) -> None:
    """Wait until the run has written a later step than that."""
    for _ in range(6000):
        if any(row["step"] > step for row in read_metrics(run, "train")):
            return
        time.sleep(0.05)
    raise AssertionError(f"no step behind {step} within five minutes")
