"""Whether a disk has room for more: what fills it leaves some for checkpoints and databases."""

import os
from pathlib import Path

LEAST_FREE = 2 * 2**30  # bytes


def is_nearly_full(folder: Path, least: int = LEAST_FREE) -> bool:
    """Whether fewer than `least` bytes of a folder's disk are free."""
    return free_bytes(folder) < least


def free_bytes(folder: Path) -> int:
    """The bytes of a folder's disk that are free."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
