"""Small files that are whole or not there, whenever a process dies."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(path: Path, text: str) -> None:
    """Write under another name, sync, and rename; several processes may do so at once, the last one stays.

    A link of that name is replaced, not followed.
    """
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def atomic_file(path: Path, sync: bool = True) -> Iterator[Path]:
    """The name to write a large file under: it becomes `path` when the block ends, and is removed when it fails.

    The file is there already, empty: nobody could have laid a link under a name that was drawn just now. Without `sync`
    a power cut may leave less of it.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    os.close(os.open(partial, _FRESH, 0o666))
    try:
        yield partial
        if sync:
            _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
