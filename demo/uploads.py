"""Visitors' files: the one folder they lie in, and the one check of a path that somebody names."""

from pathlib import Path

from gradio.utils import get_upload_folder

from llm.errors import ImageError


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


def uploaded_bytes() -> int:
    """What all files in the upload folder take; those that are deleted meanwhile count nothing."""
    total = 0
    for file in upload_folder().rglob("*"):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total
