"""Memory that a process holds without using it."""

import ctypes
import sys


def release_free_memory() -> None:
    """Return the free pages of malloc's heap to the system: what loading a model leaves behind. glibc alone can."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
