"""Visitors' files: the one folder they lie in, and the one check of a path that somebody names."""

import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from llm.errors import DataError, ImageError

UPLOAD_LIFETIME = 3600  # that uploads, and what the page makes of them, are there
LONGEST = 1024  # characters of a path; looking for one of thousands of steps takes a hundredth of a second


def uploaded_file(path: str) -> Path:
    """The file, if it lies in this server's upload folder and is a regular one; ImageError if not.

    Every path that enters a message, an output or an answer over HTTP passes here, whatever gradio checks before.
    """
    try:
        file = Path(path[:LONGEST]).resolve()
        known = len(path) < LONGEST and file.is_relative_to(upload_folder()) and file.is_file()
    except (OSError, ValueError):  # no name that a file could have
        known = False
    if not known:
        raise ImageError("a picture that was not uploaded here. Add it again")
    return file


def upload_folder() -> Path:
    """Where uploads and the page's own files lie."""
    return Path(get_upload_folder()).resolve()


def new_download_folder(most: int) -> Path:
    """A folder for files that the page makes for a visitor to fetch. DataError where the upload folder holds more than
    `most` bytes.
    """
    if sweep_uploads() > most:
        raise DataError("the server's room for files is full. Try again in an hour")
    return Path(tempfile.mkdtemp(dir=upload_folder()))


def sweep_uploads() -> int:
    """What the upload folder holds once everything older than KEPT_SECONDS is deleted.

    gradio deletes what was uploaded completely; the parts of an upload that broke off stay.
    """
    total, oldest = 0, time.time() - UPLOAD_LIFETIME
    for path in sorted(upload_folder().rglob("*"), reverse=True):  # what lies in a folder before the folder
        with suppress(OSError):  # deleted meanwhile, or a folder that is not empty
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                if found.st_mtime < oldest:
                    path.rmdir()
            elif found.st_mtime < oldest:
                path.unlink()
            else:
                total += found.st_size
    return total
