"""One real process a run: forked from a parent that has imported everything, it runs `eyegraft train` and is killed.

Starting python with torch takes six seconds, a fork a few milliseconds. What is forked has no threads and no tensors.
The hooks of a child only watch: which records a step trained on goes to `samples.log`, in one write a step, before the
step's backward pass.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.data.loader import OptimizerStep
from llm.train import loop
from llm.train.metrics import RunLog
from vlm.app.cli import main

LOG = "samples.log"
BUG = 99  # the exit status of an exception that is no EyegraftError
PATIENCE = 180.0  # seconds until a child counts as hung


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended: its exit status, or minus the signal that killed it; and its seconds."""

    status: int
    seconds: float


class Child:
    """A run of a recipe in its own process group."""

    def __init__(self, recipe: Path, kill_after: int = 0) -> None:
        """`kill_after`: it kills itself with SIGKILL after that step, before it is logged or saved."""
        self.began, self.folder = time.perf_counter(), recipe.parent
        self._end: End | None = None
        self.pid = os.fork()
        if not self.pid:
            _live(recipe, kill_after)

    def signal(self, number: int) -> None:
        """Send a signal to the process group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            if self.poll() is None:  # between fork and setsid it has no group of its own yet
                os.kill(self.pid, number)

    def poll(self) -> End | None:
        """How it ended, or None while it runs."""
        if self._end is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._end = End(os.waitstatus_to_exitcode(status), time.perf_counter() - self.began)
        return self._end

    def wait(self, until: Callable[[], bool] = lambda: False, pause: float = 0.002) -> End | None:
        """How it ended, or None as soon as `until` holds. A child that hangs is killed."""
        while True:
            if (end := self.poll()) is not None:
                return end
            if until():
                return None
            if time.perf_counter() - self.began > PATIENCE:
                os.kill(self.pid, signal.SIGKILL)
                until = bool
            time.sleep(pause)

    def end(self) -> End:
        """Wait until it ends."""
        end = self.wait()
        assert end is not None
        return end


def end_with_parent() -> None:
    """End this process with its parent: prctl(PR_SET_PDEATHSIG, SIGKILL)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _live(recipe: Path, kill_after: int) -> None:
    """The child's work; never returns."""
    end_with_parent()
    os.setsid()
    out = os.open(recipe.parent / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    status = BUG
    try:
        _watch(recipe.parent / LOG, kill_after)
        sys.argv = ["eyegraft", "train", str(recipe)]
        main()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:  # noqa: BLE001  # reported by the status; a forked child must not return into its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(log: Path, kill_after: int) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b'"start"\n')
    accumulate, advance = loop._accumulate, RunLog.advance

    def noted(work: Any, engine: Any, step: OptimizerStep[Any]) -> Any:
        texts = [getattr(batch, "text", batch) for batch in step.batches]
        line = {"step": step.number, "packs": [text.samples for text in texts], "targets": step.targets}
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        return accumulate(work, engine, step)

    def advanced(self: RunLog, step: int) -> None:
        advance(self, step)
        if step == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(loop, "_accumulate", noted)  # noqa: B010  # mypy knows no other way to replace a function
    setattr(RunLog, "advance", advanced)  # noqa: B010
