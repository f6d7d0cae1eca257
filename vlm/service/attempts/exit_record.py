"""`exit.json`: how an attempt ended. It is the only verdict about a job; engines forget theirs."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from llm.errors import ServiceError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, read_text
from vlm.service.attempts.job_lock import is_locked, try_lock

NAME = "exit.json"
AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the attempt could not begin, or ended without a word; another one may."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """What the wrapper saw: the attempt's name, the exit code as shells count it, and the time.

    A process that was killed by signal N has code 128 + N.
    """

    attempt: str
    code: int
    time: float


def write_exit(folder: Path, record: ExitRecord) -> None:
    """Write the record into the attempt's folder, atomically."""
    write_atomically(folder / NAME, json.dumps(asdict(record)))


def read_exit(folder: Path) -> ExitRecord | None:
    """The record of an attempt's folder; None where there is none yet. Raises ServiceError for a damaged one."""
    try:
        found = json.loads(read_text(folder / NAME, SETTINGS))
        return ExitRecord(str(found["attempt"]), int(found["code"]), float(found["time"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ServiceError(f"{folder / NAME}: cannot be read: {error}") from error


def is_over(folder: Path) -> bool:
    """Whether the attempt has left its record and holds nothing: an engine may hear of that minutes later."""
    return (folder / NAME).exists() and not is_locked(folder.parent)


def close_attempt(folder: Path, attempt: str) -> bool:
    """Write a record for an attempt that has left none, so that a wrapper of it that is late does not start.

    False when the job's lock is held: something of it is alive.
    """
    if not folder.exists():
        return True  # no wrapper can start there
    lock = try_lock(folder.parent)
    if lock is None:
        return False
    try:
        if not (folder / NAME).exists():
            write_exit(folder, ExitRecord(attempt, AGAIN, time.time()))
        return True
    finally:
        os.close(lock)
