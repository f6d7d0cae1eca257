"""How contenders take turns: each is a process that imports, loads, warms up, and trains one step per request.

The parent writes a line as a request; the contender replies with a line of JSON: the facts of its step and its seconds.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from llm.train.process_memory import resident_peak_gib


def finish() -> None:
    """Synchronise the GPU, so that no kernel of this turn runs in the next turn's time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_gib() -> float:
    """Peak memory in GiB: allocated by torch on the GPU since the last turn or, without one, this process's VmHWM."""
    if not torch.cuda.is_available():
        return resident_peak_gib()
    most = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return most


class Gate:
    """The contender's end of the pipes. `turn` ends a step and waits, outside any step's time, for the next request.

    Construction is the first turn: all modules are imported by then.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._read, self._write = os.fdopen(reads), os.fdopen(writes, "w")
        self._began = time.perf_counter()
        self.turn()

    def turn(self, **facts: Any) -> None:
        """Send the facts since the last turn and return at the next request; end the process at the end of requests."""
        finish()
        seconds = time.perf_counter() - self._began
        self._write.write(json.dumps(facts | {"seconds": seconds, "peak_gib": peak_gib()}) + "\n")
        self._write.flush()
        if not self._read.readline():
            os._exit(0)  # no more requests: skip the trainer's own shutdown
        self._began = time.perf_counter()


class Contender:
    """The parent's end of one process, `python -m benchmarks.MODULE SPEC READS WRITES`."""

    def __init__(self, module: str, spec: dict[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "log.txt"
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        (reads, requests), (replies, writes) = os.pipe(), os.pipe()
        arguments = [sys.executable, "-m", f"benchmarks.{module}", str(folder / "spec.json"), str(reads), str(writes)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(arguments, pass_fds=(reads, writes), stdout=log, stderr=log)
        os.close(reads)
        os.close(writes)
        self._requests, self._replies = os.fdopen(requests, "w"), os.fdopen(replies)

    def receive(self) -> dict[str, Any]:
        """Wait for the reply of the current step. Raises SystemExit with the end of the process's log when it died."""
        line = self._replies.readline()
        if not line:
            raise SystemExit(f"{self._log}: ended with {self._process.wait()}:\n{self._log.read_text()[-3000:]}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def step(self) -> dict[str, Any]:
        """Request one more step and return its facts."""
        self._requests.write("go\n")
        self._requests.flush()
        return self.receive()

    def end(self) -> None:
        """End the process."""
        self._requests.close()
        self._process.wait()
        self._replies.close()
