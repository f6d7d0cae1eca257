"""Memory of this process: its peak, freed pages that malloc holds, and caches of compiled kernels."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from llm.machine_constants import ONEDNN_KERNELS, TORCH_KERNELS

# Entries in the caches of compiled kernels, oneDNN's and torch's own in front of it.
LIMITS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(ONEDNN_KERNELS.count), "LRU_CACHE_CAPACITY": str(TORCH_KERNELS.count)}


def limit_kernel_caches() -> None:
    """Set LIMITS in the environment, unless the user did. Call it before the first product of bf16 matrices."""
    for name, limit in LIMITS.items():
        os.environ.setdefault(name, limit)


def release_free_memory() -> None:
    """Return free pages of malloc's heap to the system, such as loading a model leaves. glibc only."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Bytes that can be allocated now: of the machine, and of the card; without a card `card` is None."""

    machine: int
    card: int | None = None

    @property
    def device(self) -> int:
        """Those of the device that computes."""
        return self.machine if self.card is None else self.card


def free_memory() -> FreeMemory:
    """What is free now, within this process's control group (a container's limit); torch's cache is emptied first."""
    from llm.devices import accelerator  # it imports torch

    return FreeMemory(free_machine_bytes(), accelerator().free_bytes())


def free_machine_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of the machine; where there is no /proc, the memory that it has."""
    meminfo = proc / "meminfo"
    if not meminfo.is_file():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    most, used = cgroup / "memory.max", cgroup / "memory.current"
    if not most.is_file() or not used.is_file() or not (limit := most.read_text().strip()).isdecimal():
        return free
    reclaimed = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    return min(free, int(limit) - int(used.read_text()) + int(reclaimed["inactive_file"]))


def peak_memory_gib() -> float:
    """Peak memory so far, GiB: allocated by torch on the card; where that is not counted, resident memory."""
    from llm.devices import accelerator  # it imports torch

    allocated = accelerator().peak_bytes()
    return resident_peak_gib() if allocated is None else allocated / 2**30


def resident_peak_gib() -> float:
    """Peak resident memory of this process, GiB. Where /proc is, not ru_maxrss: a child inherits its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # macOS counts bytes
