"""The upload folder: the only folder whose files a visitor may name, and its clean-up."""

import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from llm.errors import DataError, ImageError

UPLOAD_LIFETIME = 3600  # seconds that uploads and generated downloads are available
MAX_PATH = 1024  # characters of a path; resolving one of thousands of components takes a hundredth of a second


def uploaded_file(path: str) -> Path:
    """The resolved path of an uploaded file.

    Raises ImageError unless it is a regular file inside the upload folder. Every path from a visitor passes this
    check before it enters a message, an output or a response, whatever gradio checks before.
    """
    try:
        file = Path(path[:MAX_PATH]).resolve()
        known = len(path) < MAX_PATH and file.is_relative_to(upload_folder()) and file.is_file()
    except (OSError, ValueError):  # not a possible file name
        known = False
    if not known:
        raise ImageError("it was not uploaded to this server", "Upload it again", "the image", "image-not-uploaded")
    return file


def upload_folder() -> Path:
    """The folder of uploads and of the page's own files."""
    return Path(get_upload_folder()).resolve()


def new_download_folder(most: int) -> Path:
    """A new folder for files that a visitor may download.

    Raises DataError when the upload folder holds more than `most` bytes.
    """
    if sweep_uploads() > most:
        raise DataError("the server's space for files is full. Try again in an hour")
    return Path(tempfile.mkdtemp(dir=upload_folder()))


def sweep_uploads() -> int:
    """Delete everything older than UPLOAD_LIFETIME; returns the bytes that remain in the upload folder.

    gradio deletes complete uploads itself; the parts of an interrupted upload would remain.
    """
    total, oldest = 0, time.time() - UPLOAD_LIFETIME
    for path in sorted(upload_folder().rglob("*"), reverse=True):  # the files of a folder before the folder
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
