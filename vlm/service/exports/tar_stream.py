"""A folder as an uncompressed tar file, made while it is sent: its size is known first, and no copy is on the disk."""

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llm.files.regular_files import open_regular

CHUNK = 1 << 20
BLOCK = tarfile.BLOCKSIZE  # 512 bytes: heads and contents are padded to multiples of it
END = b"\0" * (2 * BLOCK)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    head: bytes
    size: int


class TarStream:
    """The regular files below a folder under its own name; links and other special files are left out.

    Entries have owner 0 and can be read by all: the user who unpacks them becomes their owner.
    """

    def __init__(self, folder: Path) -> None:
        """Look at the files. Raises OSError for a folder that cannot be read."""
        self._entries = [_entry(path, folder.parent) for path in _files(folder)]
        self.size = sum(len(one.head) + _padded(one.size) for one in self._entries) + len(END)

    def chunks(self) -> Iterator[bytes]:
        """The tar file. Raises OSError when a file is gone or shorter than it was: the download must not look done."""
        for one in self._entries:
            yield one.head
            yield from _content(one)
            yield b"\0" * (_padded(one.size) - one.size)
        yield END


def _files(folder: Path) -> list[Path]:
    found = [Path(place) / name for place, _, names in os.walk(folder) for name in names]  # links are not followed
    return sorted(path for path in found if stat.S_ISREG(path.lstat().st_mode))


def _entry(path: Path, above: Path) -> _Entry:
    found = path.lstat()
    entry = tarfile.TarInfo(path.relative_to(above).as_posix())
    entry.size, entry.mtime, entry.mode = found.st_size, int(found.st_mtime), 0o644
    return _Entry(path, entry.tobuf(tarfile.PAX_FORMAT), found.st_size)


def _content(entry: _Entry) -> Iterator[bytes]:
    left = entry.size
    with open_regular(entry.path) as stream:
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise OSError(f"{entry.path.name} became shorter while it was sent")
            left -= len(chunk)
            yield chunk


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
