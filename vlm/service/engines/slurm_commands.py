"""Slurm's client programs. While its controller is down each of them takes ten seconds to say so."""

import shlex
import subprocess
import time

from llm.errors import ServiceError
from vlm.service.engines.engine import EngineDownError

TIMEOUT_S = 30.0
AGAIN_S = 5.0  # so long it is not asked again after it was down: jobs of other engines are looked after meanwhile
DOWN = (
    "nable to contact",
    "ocket timed out",
    "Connection refused",
    "not responding",
    "nexpected message",
    "endpoint",
    "Zero Bytes",
)


class SlurmCommands:
    """Runs the programs, and remembers for a moment that Slurm was down."""

    def __init__(self) -> None:
        self._down, self._until = "", 0.0

    def __call__(self, *command: str) -> str:
        """Standard output. Raises EngineDownError while Slurm does not answer, and ServiceError for what it refuses."""
        if time.monotonic() < self._until:
            raise EngineDownError(self._down)
        try:
            return _run(command)
        except EngineDownError as error:
            self._down, self._until = str(error), time.monotonic() + AGAIN_S
            raise


def _run(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineDownError(f"{command[0]} did not answer within {TIMEOUT_S:g} s") from error
    except FileNotFoundError as error:
        raise ServiceError(f"{command[0]} is not installed: the slurm engine needs Slurm's client programs") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() or f"exit code {done.returncode}"
    if any(word in said for word in DOWN):
        raise EngineDownError(f"{command[0]}: {said}")
    raise ServiceError(f"{shlex.join(command[:3])}: {said}")
