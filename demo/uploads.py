"""Visitors' files: the one folder they lie in, and the one check of a path that somebody names."""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from llm.errors import DataError, ImageError

KEPT_SECONDS = 3600  # that uploads, and what the page makes of them, are there
MADE = "made-"


def uploaded(path: str) -> Path:
    """The file, if it lies in this server's upload folder and is a regular one; ImageError if not.

    Every path that enters a message, an output or an answer over HTTP passes here, whatever gradio checks before.
    """
    try:
        file = Path(path).resolve()
        known = file.is_relative_to(upload_folder()) and file.is_file()
    except (OSError, ValueError):  # no name that a file could have
        known = False
    if not known:
        raise ImageError("a picture that was not uploaded here. Add it again")
    return file


def upload_folder() -> Path:
    """Where uploads and the page's own files lie."""
    return Path(get_upload_folder()).resolve()


def new_folder(most: int) -> Path:
    """A folder for files that the page makes for a visitor to fetch; those made more than an hour ago are deleted.

    Raises DataError when the upload folder holds more than `most` bytes.
    """
    for made in upload_folder().glob(f"{MADE}*"):
        with suppress(FileNotFoundError):
            if made.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(made)
    if uploaded_bytes() > most:
        raise DataError("the server's room for files is full. Try again in an hour")
    return Path(tempfile.mkdtemp(prefix=MADE, dir=upload_folder()))


def uploaded_bytes() -> int:
    """What all files in the upload folder take; those that are deleted meanwhile count nothing."""
    total = 0
    for file in upload_folder().rglob("*"):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total
