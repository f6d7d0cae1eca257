"""How contenders take turns: each is a process of its own that imports, loads, warms up, and trains a step when told.

The parent writes a line, the contender answers with one: JSON with what it did and the seconds it took.
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
    """Wait for what was given to the card: nothing of it may fall into the next turn's seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_gib() -> float:
    """The most memory: what torch held on the card since the last turn, or this process's resident memory so far."""
    if not torch.cuda.is_available():
        return resident_peak_gib()
    most = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return most


class Gate:
    """A contender's side. `turn` ends a step and waits for the next; waiting is never part of a step's seconds.

    To have one is a turn already: all is imported.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._read, self._write = os.fdopen(reads), os.fdopen(writes, "w")
        self._began = time.perf_counter()
        self.turn()

    def turn(self, **facts: Any) -> None:
        """Tell what was done since the last turn; returns when the parent says go on, ends the process at its end."""
        finish()
        seconds = time.perf_counter() - self._began
        self._write.write(json.dumps(facts | {"seconds": seconds, "peak_gib": peak_gib()}) + "\n")
        self._write.flush()
        if not self._read.readline():
            os._exit(0)  # the parent has enough; a trainer's own shutdown would only take time
        self._began = time.perf_counter()


class Contender:
    """The parent's side of one process, `python -m benchmarks.MODULE SPEC READS WRITES`."""

    def __init__(self, module: str, spec: dict[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "log.txt"
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        (reads, told), (heard, writes) = os.pipe(), os.pipe()
        arguments = [sys.executable, "-m", f"benchmarks.{module}", str(folder / "spec.json"), str(reads), str(writes)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(arguments, pass_fds=(reads, writes), stdout=log, stderr=log)
        os.close(reads)
        os.close(writes)
        self._tell, self._hear = os.fdopen(told, "w"), os.fdopen(heard)

    def hear(self) -> dict[str, Any]:
        """What the step that is under way came to; SystemExit with the process's last words when it died."""
        line = self._hear.readline()
        if not line:
            raise SystemExit(f"{self._log}: ended with {self._process.wait()}:\n{self._log.read_text()[-3000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def step(self) -> dict[str, Any]:
        """Have one more step done."""
        self._tell.write("go\n")
        self._tell.flush()
        return self.hear()

    def end(self) -> None:
        """No more steps."""
        self._tell.close()
        self._process.wait()
        self._hear.close()
