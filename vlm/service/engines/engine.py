"""What an engine is: it starts attempts and says whether they are alive. It judges nothing, and stops nothing.

An attempt stops when the file `stop` appears in its folder (vlm.service.attempts.stop_file).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llm.errors import ServiceError
from vlm.service.attempts.verdict import Life
from vlm.service.store.rows import Attempt


class EngineDownError(ServiceError):
    """An engine that cannot be asked now, such as Slurm while its controller restarts: nothing is known meanwhile."""


def unreachable(engine: str, error: ServiceError) -> str:
    """What jobs are informed of while their engine cannot be asked."""
    return f"{engine} cannot be asked, and nothing is done meanwhile: {error}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one process can train: a GPU by its UUID, or the CPUs of a machine.

    `memory`: bytes that a job may use there; 0 where unknown.
    """

    name: str
    device: str
    memory: int


def is_card(slot: str) -> bool:
    """Whether a slot of this name is a GPU, or a part of one."""
    return slot.startswith(("GPU-", "MIG-"))


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an engine can be used now, and why not; the slots that it has."""

    usable: bool
    reason: str
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """What an attempt runs.

    Attributes:
        folder: The attempt's own; the wrapper finds the command there.
        command: Starts all processes of the job on one machine.
        rank_command: What each of them runs, where the engine starts them itself.
    """

    attempt: Attempt
    folder: Path
    command: tuple[str, ...]
    rank_command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    processes: int


@dataclass(frozen=True, slots=True)
class NativeState:
    """An engine's word about an attempt: whether it lives, why it waits, and the machines it is on."""

    life: Life
    reason: str = ""
    hosts: tuple[str, ...] = ()


class Engine(Protocol):
    """Where attempts run. All methods raise EngineDownError while the engine cannot be asked: then nothing is known."""

    name: str
    queues: bool  # it has a queue of its own and takes any number of attempts; else an attempt needs free slots

    def probe(self, fresh: bool = False) -> Health:
        """Whether it can be used, and its slots; `fresh`: not as of some seconds ago."""

    def submit(self, start: Start) -> str:
        """Start an attempt and return the engine's name for it; an attempt that was started already is found again."""

    def poll(self, attempts: Sequence[Attempt]) -> dict[str, NativeState]:
        """The state of each attempt, by `Attempt.name`; one that the engine does not know is gone."""

    def withdraw(self, attempt: Attempt) -> None:
        """Take an attempt that has not begun out of the engine's queue; nothing happens to any other."""

    def kill(self, attempt: Attempt) -> None:
        """Kill the processes of an attempt that its own wrapper has not killed: on a machine that it does not reach."""
