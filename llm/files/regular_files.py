"""Files that are named to us: regular ones only, opened without waiting, and never more of them than can be meant.

A named pipe blocks until somebody writes into it, a device never ends, a sparse file of a terabyte takes no room on the
disk and all of the memory. Links are followed: data on another disk is usual.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from errno import EFBIG, EINVAL, EISDIR, ENXIO
from io import BufferedReader
from pathlib import Path

from llm.errors import DataError

RECIPE = 1 << 20  # bytes of a recipe or a prompt: a hundred times the longest that ships
SETTINGS = 64 << 20  # bytes of JSON that is read at once, as config.json, manifests and reports: megabytes at most
VOCABULARY = 512 << 20  # bytes of any other text file of a model folder: the largest tokenizer.json are some 40 MiB
TEXT = 1 << 30  # bytes of a text that is one record or one list: a quarter of a billion tokens
LARGEST_HOLE = 1 << 30  # bytes of a file that were never written; real files of this size have none
HOLES = 64  # that are looked at
PICTURE = 1 << 30  # bytes of a picture that is only copied or hashed: far above what is ever decoded
# What libraries read at once; other files in a model's folder, a data set's say, may be as large as they are.
_AT_ONCE = re.compile(
    r".*config\.json|.*\.index\.json|(tokenizer|vocab|added_tokens|special_tokens_map|merges)\..*|.*\.jinja"
)
_KINDS = {
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFDIR: "is a folder",
    stat.S_IFLNK: "is a link",
}


def kind_of(found: os.stat_result) -> str:
    """The kind of a file that is not a regular one, in words."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "is of an unknown kind")


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a text that is no name of one, such as a very long one, is none."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def check_regular(path: Path, most: int = 0) -> None:
    """Raise OSError, its `strerror` saying why, for what is no regular file or is larger than `most` bytes (0: any).

    For files that a library opens by their names.
    """
    found = path.stat()
    _judge(path, found, most)
    if found.st_size > LARGEST_HOLE:
        open_regular(path).close()


def open_regular(path: Path, most: int = 0) -> BufferedReader:
    """The file, open for reading. Raises OSError as `check_regular`, also for what has just taken its place."""
    _judge(path, path.stat(), most)  # opening alone may already do something to a device
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        _judge(path, found, most)
        _refuse_holes(path, descriptor, found.st_size)
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """All of a file of at most `most` bytes. Raises OSError as `open_regular`."""
    with open_regular(path, most) as file:
        content = file.read(most + 1)  # it may have grown, and files of /proc say that they are empty
    if len(content) > most:
        raise _too_large(path, len(content), most)
    return content


def read_text(path: Path, most: int, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The same as text, line ends as Python reads them. Raises UnicodeDecodeError too."""
    return read_regular(path, most).decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def open_data(path: Path) -> BufferedReader:
    """A file of data, which may be of any size. Raises DataError for one that cannot be read."""
    try:
        return open_regular(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Correct the path") from error


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Raise OSError for the first file of a folder that a library must not open, among those that fit `names`."""
    for file in sorted({file for name in names for file in folder.glob(name)}):
        if file.exists() and not file.is_dir():  # a link that leads nowhere is no file to anybody
            check_regular(file, VOCABULARY if _AT_ONCE.fullmatch(file.name) else 0)


def _judge(path: Path, found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        number = EISDIR if stat.S_ISDIR(found.st_mode) else EINVAL
        raise OSError(number, f"{kind_of(found)}, not a regular file", str(path))
    if most and found.st_size > most:
        raise _too_large(path, found.st_size, most)


def _refuse_holes(path: Path, descriptor: int, size: int) -> None:
    """Refuse a sparse file with a large hole: zeros that were never written, and would be read for days.

    Where a file system cannot tell, all of a file counts as written.
    """
    try:
        hole = max(_holes(descriptor, size), default=0)
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    if hole > LARGEST_HOLE:
        found = f"holds a hole of {hole:,} bytes that were never written, as a download leaves that was cut off"
        raise OSError(EINVAL, found, str(path))


def _holes(descriptor: int, size: int) -> Iterator[int]:
    """The sizes of the first holes, while more of the file is left than the largest that may be."""
    end = 0
    for _ in range(HOLES):
        if size - end <= LARGEST_HOLE:
            return
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == ENXIO:  # nothing but a hole from here on
                yield size - end
            return
        yield start - end
        end = os.lseek(descriptor, start, os.SEEK_HOLE)


def _too_large(path: Path, size: int, most: int) -> OSError:
    return OSError(EFBIG, f"holds {size:,} bytes or more, at most {most:,} are read", str(path))
