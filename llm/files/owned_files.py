"""What is written under fixed names into a folder: never through a link, nor into what belongs to somebody else.

The folder itself, and those above it, may be links: runs are kept on other disks. What stands in it under our names is
a regular file or a folder of this user, or it is refused by name; whoever can plant a link there would else choose
which of the user's files is cut to nothing.
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
    """A file of our own as text, made where it is missing in mode `a+`, which reads and appends.

    Raises RunError for a link, for what is no file and for a file of another user; OSError for all else.
    """
    check_owned_file(path)
    try:
        descriptor = os.open(path, _FLAGS[mode] | _NEVER, 0o666)
    except OSError as error:
        if error.errno in (ELOOP, EMLINK, ENXIO, EISDIR):  # it has just taken the file's place
            raise RunError(f"{path}: is no regular file: {error.strerror}. {_ADVICE}") from error
        raise
    try:
        _judge_file(path, os.fstat(descriptor))
        os.set_blocking(descriptor, True)
    except RunError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, mode, encoding="utf-8")


def make_owned_folder(path: Path, shared: bool = False) -> Path:
    """A folder of our own, made where it is missing. Raises RunError for a link and for another user's folder,
    OSError where it cannot be made. A `shared` one may be another user's.
    """
    path.mkdir(exist_ok=True)  # it follows no link
    check_owned_folder(path, shared)
    return path


def check_owned_file(path: Path) -> None:
    """Raise RunError if `path` exists and is not a regular file owned by this user."""
    found = _found(path)
    if found is not None:
        _judge_file(path, found)


def check_owned_folder(path: Path, shared: bool = False) -> None:
    """The same for a folder, which may be another user's where it is `shared`."""
    found = _found(path)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        what = "is a file" if stat.S_ISREG(found.st_mode) else kind_of(found)
        raise RunError(f"{path}: {what}, where a folder of this user's own belongs. {_ADVICE}")
    if not shared:
        _refuse_other_user(path, found)


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _judge_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise RunError(f"{path}: {kind_of(found)}, where a regular file belongs. {_ADVICE}")
    _refuse_other_user(path, found)


def _refuse_other_user(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise RunError(f"{path}: belongs to user {found.st_uid}, this is user {os.geteuid()}. {_ADVICE}")
