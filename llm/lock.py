"""One writer a run folder. The lock belongs to its process and ends with it, however that ends."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from llm.errors import RunError

NAME = "writer.lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make the run folder and hold it. Raises RunError naming who has it, or that it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error
    with stream:
        _take(stream, folder)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        stream.flush()
        yield


def refuse_second(folder: Path) -> None:
    """Raise RunError if somebody writes to the folder now: told before the seconds that loading a model takes."""
    if (folder / NAME).exists():
        with (folder / NAME).open(encoding="utf-8") as stream:
            _take(stream, folder)


def _take(stream: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        raise RunError(
            f"{folder} is being trained by {stream.read() or 'another process'}. Wait for it, stop it, or choose "
            "another `out`"
        ) from error
