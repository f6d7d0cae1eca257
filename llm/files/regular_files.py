"""Read files that users name: regular files only, without blocking, and with bounds on their size.

Reading a named pipe blocks, a device never ends, and a sparse file of a terabyte fills the memory. Links are followed,
since data often lies on another disk.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from errno import EFBIG, EINVAL, EISDIR, ENXIO
from io import BufferedReader
from pathlib import Path

from llm.errors import DataError

RECIPE = 1 << 20  # bytes of a recipe or a prompt: a hundred times the longest shipped recipe
SETTINGS = 64 << 20  # bytes of JSON that is parsed at once, such as config.json, manifests and reports
VOCABULARY = 512 << 20  # bytes of any other text file of a model folder: the largest tokenizer.json are some 40 MiB
TEXT = 1 << 30  # bytes of a text that is one record or one list: about 250 million tokens
LARGEST_HOLE = 1 << 30  # bytes in a hole of a sparse file
HOLES = 64  # holes that are checked
IMAGE = 1 << 30  # bytes of an image that is only copied or hashed; decoding has a lower bound
# Files of a model folder that libraries read at once. Others, such as weights, may have any size.
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
    """The type of a file that is not regular, for messages."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "is of an unknown type")


def exists(path: Path) -> bool:
    """Whether a file or folder exists; False for texts that cannot be a path, such as very long ones."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def check_regular(path: Path, most: int = 0) -> None:
    """Raise OSError with the reason in `strerror` unless `path` is a regular file of at most `most` bytes (0: any).

    For files that a library opens by name.
    """
    found = path.stat()
    _check(path, found, most)
    if found.st_size > LARGEST_HOLE:
        open_regular(path).close()


def open_regular(path: Path, most: int = 0) -> BufferedReader:
    """Open a file for reading. Raises OSError as `check_regular`, also if the file was just replaced."""
    _check(path, path.stat(), most)  # before opening: that alone can act on a device
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        _check(path, found, most)
        _refuse_holes(path, descriptor, found.st_size)
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes. Raises OSError as `open_regular`."""
    with open_regular(path, most) as file:
        content = file.read(most + 1)  # it may have grown, and files of /proc have size 0
    if len(content) > most:
        raise _too_large(path, len(content), most)
    return content


def read_text(path: Path, most: int, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The same as text with line breaks as `\\n`. Raises UnicodeDecodeError too."""
    return read_regular(path, most).decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def open_data(path: Path) -> BufferedReader:
    """Open a data file of any size. Raises DataError if it cannot be read."""
    try:
        return open_regular(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Correct the path") from error


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Check the files of a folder that match the patterns `names` before a library opens them.

    Raises OSError for the first that is not regular or too large.
    """
    for file in sorted({file for name in names for file in folder.glob(name)}):
        if file.exists() and not file.is_dir():  # a dangling link is not opened by anyone
            check_regular(file, VOCABULARY if _AT_ONCE.fullmatch(file.name) else 0)


def _check(path: Path, found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        number = EISDIR if stat.S_ISDIR(found.st_mode) else EINVAL
        raise OSError(number, f"{kind_of(found)}, not a regular file", str(path))
    if most and found.st_size > most:
        raise _too_large(path, found.st_size, most)


def _refuse_holes(path: Path, descriptor: int, size: int) -> None:
    """Raise OSError for a sparse file with a large hole, which would be read as zeros for days.

    File systems that do not report holes pass.
    """
    try:
        hole = max(_holes(descriptor, size), default=0)
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    if hole > LARGEST_HOLE:
        found = f"has a hole of {hole:,} bytes that were never written, as after an interrupted download"
        raise OSError(EINVAL, found, str(path))


def _holes(descriptor: int, size: int) -> Iterator[int]:
    """Sizes of the first holes, as long as the rest of the file is larger than LARGEST_HOLE."""
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
    return OSError(EFBIG, f"has {size:,} bytes or more, at most {most:,} are read", str(path))
