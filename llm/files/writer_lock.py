"""`writer.lock` of a run folder: held by the process that trains there, for as long as it lives, and named in it."""

import fcntl
import time
from pathlib import Path
from typing import IO

from llm.errors import RunError
from llm.files.regular_files import open_regular

LOCK = "writer.lock"
PATIENCE_S = 0.2  # `writer_of` holds a lock for an instant; one that trains is held for much longer
LONGEST = 200  # bytes of the holder's name
UNNAMED = "another process"


def take_lock(stream: IO[str]) -> bool:
    """Lock an opened lock file until it is closed; False where another process has it."""
    until = time.monotonic() + PATIENCE_S
    while not _try(stream, fcntl.LOCK_EX):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def writer_of(folder: Path) -> str:
    """Who trains in a run folder now, such as `process 7 on host, since 2026-01-31 12:00 UTC`; empty for none.

    Nothing is written, and a run that starts meanwhile is not refused. Raises RunError for a file that cannot be read.
    """
    try:
        with open_regular(folder / LOCK) as stream:
            if _try(stream, fcntl.LOCK_SH):
                return ""
            return stream.read(LONGEST).decode(errors="replace") or UNNAMED
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise RunError(f"{folder / LOCK}: cannot be read: {error.strerror}. Check its rights") from error


def _try(stream: IO[str] | IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
