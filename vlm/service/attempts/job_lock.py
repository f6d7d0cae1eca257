"""The lock of a job: held by the one wrapper that runs it, and by the processes that it started."""

import fcntl
import os
import time
from pathlib import Path

NAME = "running.lock"  # in the job's folder, beside the folders of its attempts
PATIENCE_S = 1.0
"""How long a wrapper tries: `is_locked` takes the lock for an instant."""


def take_lock(job: Path) -> int | None:
    """A descriptor that holds the lock until it is closed by every process that has it; None where it is taken."""
    until = time.monotonic() + PATIENCE_S
    while (descriptor := try_lock(job)) is None and time.monotonic() < until:
        time.sleep(0.02)
    return descriptor


def try_lock(job: Path) -> int | None:
    """As `take_lock`, in one try."""
    descriptor = os.open(job / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _try(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def is_locked(job: Path) -> bool:
    """Whether something of the job may be alive."""
    try:
        descriptor = os.open(job / NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
