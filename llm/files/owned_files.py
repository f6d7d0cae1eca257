"""Write files of fixed names into a folder without following links or touching files of other users.

The folder itself and its parents may be links, since runs may lie on other disks. A file in it must be a regular file
or a folder of this user: otherwise anyone who can create a link there could choose which of the user's files is
truncated.
"""

import os
import stat
from errno import EISDIR, ELOOP, EMLINK, ENXIO
from pathlib import Path
from typing import Literal, TextIO

from llm.errors import RunError
from llm.files.regular_files import kind_of

_FLAGS = {"r": os.O_RDONLY, "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND}
_NEVER = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ADVICE = "Remove it, or choose another `out`"


def open_owned(path: Path, mode: Literal["r", "a+"]) -> TextIO:
    """Open a text file of this user; mode `a+` reads, appends, and creates it if missing.

    Raises RunError for links, other kinds of files and files of other users; OSError for any other failure.
    """
    check_owned_file(path)
    try:
        descriptor = os.open(path, _FLAGS[mode] | _NEVER, 0o666)
    except OSError as error:
        if error.errno in (ELOOP, EMLINK, ENXIO, EISDIR):  # it replaced the file after the check
            raise RunError(f"{path}: is not a regular file: {error.strerror}. {_ADVICE}") from error
        raise
    try:
        _check_file(path, os.fstat(descriptor))
        os.set_blocking(descriptor, True)
    except RunError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, mode, encoding="utf-8")


def make_owned_folder(path: Path, shared: bool = False) -> Path:
    """Make a folder if missing and return it. A `shared` one may belong to another user.

    Raises RunError for a link or another user's folder, OSError if it cannot be made.
    """
    path.mkdir(exist_ok=True)  # mkdir follows no link
    check_owned_folder(path, shared)
    return path


def check_owned_file(path: Path) -> None:
    """Raise RunError if `path` exists and is not a regular file owned by this user."""
    found = _status(path)
    if found is not None:
        _check_file(path, found)


def check_owned_folder(path: Path, shared: bool = False) -> None:
    """Raise RunError if `path` exists and is not a folder owned by this user; a `shared` one may be another's."""
    found = _status(path)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        what = "is a file" if stat.S_ISREG(found.st_mode) else kind_of(found)
        raise RunError(f"{path}: {what}, not a folder of this user. {_ADVICE}")
    if not shared:
        _refuse_other_user(path, found)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise RunError(f"{path}: {kind_of(found)}, not a regular file. {_ADVICE}")
    _refuse_other_user(path, found)


def _refuse_other_user(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise RunError(f"{path}: belongs to user {found.st_uid}, this is user {os.geteuid()}. {_ADVICE}")
