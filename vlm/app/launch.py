"""`eyegraft train --nproc N`: N processes of this machine as one run. For several machines use torchrun.

When one process fails, the others, which wait for it in a collective, are ended too; when this process is killed, so
are they. SIGTERM and Ctrl-C are forwarded: all finish the same step, save, and exit as a single process would.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from llm import console
from llm.errors import PeerLostError, RunError

GRACE_S = 5.0  # for the others to exit after one has failed
STOPPING_GRACE_S = 60.0  # for the others to save after one was stopped by a signal
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
POLL_S = 0.05
PR_SET_PDEATHSIG = 1  # linux/prctl.h
START = "from vlm.app.cli import main; main()"


@dataclass(frozen=True, slots=True)
class TrainCommand:
    """What `eyegraft train` was called with.

    Attributes:
        recipe: The recipe's file.
        overrides: `key.path=value` for keys of the recipe.
        anyway: Resume although recipe or data changed.
        nproc: Processes to start; 0 trains in this one, which may be one of several that torchrun started.
    """

    recipe: Path
    overrides: tuple[str, ...] = ()
    anyway: bool = False
    nproc: int = 0

    def of(self, recipe: Path) -> "TrainCommand":
        """The same options for the recipe of a pipeline's step."""
        return replace(self, recipe=recipe, overrides=())

    @property
    def command(self) -> list[str]:
        """The command of one of several processes."""
        return [sys.executable, "-P", "-c", START, *self.arguments]

    @property
    def arguments(self) -> list[str]:
        """The arguments of that command."""
        return ["train", str(self.recipe), *self.overrides, *(["--anyway"] if self.anyway else [])]


@dataclass(frozen=True, slots=True)
class Worker:
    """One process, and the file of its standard error; the first one writes to ours."""

    rank: int
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes] | None

    def error_output(self) -> str:
        """What it wrote to standard error."""
        if self.errors is None:
            return ""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()


def launch(command: Sequence[str], count: int) -> int:
    """Run a command in `count` processes; returns the exit code of the first that failed, or 0.

    Raises RunError, with its standard error, when a process was killed.
    """
    with ExitStack() as stack:
        environment = _environment(count)
        workers = [stack.enter_context(_start_worker(command, environment, rank)) for rank in range(count)]
        stack.enter_context(_forward_signals(workers))
        return _watch(workers)


def _environment(count: int) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    return {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _start_worker(command: Sequence[str], environment: dict[str, str], rank: int) -> Iterator[Worker]:
    """One process, killed on exit if it still runs."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=errors if rank else None,
            start_new_session=True,  # a terminal's Ctrl-C reaches it once, forwarded by us
            preexec_fn=_die_with_parent,
        )
        try:
            yield Worker(rank, process, errors if rank else None)
        finally:
            process.kill()
            process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _forward_signals(workers: list[Worker]) -> Iterator[None]:
    received: list[int] = []

    def forward(number: int, _: object) -> None:
        for worker in workers:
            if worker.process.poll() is None:  # SIGKILL the second time: a process in a collective handles no signal
                worker.process.send_signal(signal.SIGKILL if received else number)
        received.append(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(workers: list[Worker]) -> int:
    """Wait for all; after the first failure the others get a grace period. The first failure is reported."""
    first: Worker | None = None
    until = float("inf")
    while any(worker.process.poll() is None for worker in workers) and time.monotonic() < until:
        first = first or next((worker for worker in workers if worker.process.poll()), None)
        if first is not None and until == float("inf"):
            grace = STOPPING_GRACE_S if first.process.returncode in STOPPED else GRACE_S
            until = time.monotonic() + grace
        time.sleep(POLL_S)
    ended = [worker for worker in workers if worker.process.poll()]
    if first is None and not ended:
        return 0
    if first is None or first.process.returncode == PeerLostError.exit_code:
        first = min(ended, key=lambda worker: worker.process.returncode == PeerLostError.exit_code)
    code = first.process.returncode
    if code in STOPPED:
        return int(code)
    name = f"process {first.rank} of {len(workers)}"
    if code < 0:
        how = f"{name} was killed by {signal.Signals(-code).name}; the others were ended"
        raise RunError(f"{how}. The same command resumes from the last checkpoint\n{first.error_output()}".strip())
    first_reported = workers[0].process.poll() not in (None, 0, PeerLostError.exit_code)
    if not first_reported:
        console.err(f"{name} ended with {code}:\n{first.error_output()}")
    return int(code)


@contextmanager
def worker_output(rank: int) -> Iterator[None]:
    """Inside the context the standard output of all processes but the first is discarded."""
    if not rank:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as sink, redirect_stdout(sink):
        yield
