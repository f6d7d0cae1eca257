"""A bound on the memory in which files of strangers are read."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlm.service.slots import memory_bytes

MOST = 8 * 2**30


def budget() -> int:
    """Bytes that reading a job's files may take: half of the machine's memory, at most MOST."""
    return min(MOST, memory_bytes() // 2)


@contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Inside the context the process gets `more` bytes of address space and no more: MemoryError is raised beyond."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * resource.getpagesize() + more
    limits = [limit for limit in (wanted, before, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
