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
from llm.files.owned_files import open_owned

NAME = "writer.lock"


@contextmanager
def exclusive_writer(folder: Path) -> Iterator[None]:
    """Make the run folder and hold it. Raises RunError naming who has it, or that it cannot be written."""
    with _named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = open_owned(folder / NAME, "a+")
    with stream:
        _take(stream, folder)
        who = f"process {os.getpid()} on {platform.node()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        with _named(folder):
            stream.truncate(0)
            os.write(stream.fileno(), who.encode())  # past the buffer: closing would try again on a full disk
        yield


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """What the disk says, with the folder's name and what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{folder}: the run folder cannot be written: {error}. Free space, or choose another `out`"
        ) from error


def refuse_running(folder: Path) -> None:
    """Raise RunError if somebody writes to the folder now: told before the seconds that loading a model takes."""
    try:
        stream = open_owned(folder / NAME, "r")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{folder / NAME}: cannot be read: {error.strerror}. Choose another `out`") from error
    with stream:
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
