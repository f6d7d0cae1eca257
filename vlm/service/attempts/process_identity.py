"""A process that cannot be confused with a later one of the same number: its start time and the boot count too."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from llm.files.atomic_files import write_atomically

NAME = "process.json"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this machine. `started`: clock ticks since boot; `boot`: the kernel's id of this boot."""

    pid: int
    started: int
    boot: str

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.boot}"

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity | None":
        """The identity that was written with `str`; None for any other text."""
        words = text.split()
        if len(words) != 3 or not words[0].isdecimal() or not words[1].isdecimal():
            return None
        return cls(int(words[0]), int(words[1]), words[2])

    @property
    def lives(self) -> bool:
        """Whether the process is alive."""
        return identify(self.pid) == self


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None where there is none of that number."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = status[status.rindex(")") + 2 :].split()  # the name before it may hold anything
    if fields[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def write_identity(folder: Path) -> None:
    """Write the identity of this process into a folder."""
    own = identify(os.getpid())
    assert own is not None
    write_atomically(folder / NAME, json.dumps(asdict(own)))


def living_process(folder: Path) -> int | None:
    """The number of the process that wrote its identity into the folder, if it is alive."""
    found = _read(folder)
    return found.pid if found is not None and found.lives else None


def died_here(folder: Path) -> bool:
    """Whether that process was one of this machine since it was started, and is dead."""
    own, found = identify(os.getpid()), _read(folder)
    return own is not None and found is not None and found.boot == own.boot and not found.lives


def _read(folder: Path) -> ProcessIdentity | None:
    try:
        return ProcessIdentity(**json.loads((folder / NAME).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
