"""Atomic writes: a file is complete or missing, even if the process is killed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(path: Path, text: str) -> None:
    """Write the text to a temporary file, sync it and rename it to `path`; of concurrent writers the last one wins.

    A symbolic link at `path` is replaced, not followed.
    """
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def atomic_file(path: Path, sync: bool = True) -> Iterator[Path]:
    """A temporary file beside `path`, renamed to `path` when the block ends and removed when it raises.

    It exists and is empty, under a random name, so that it cannot be a link planted by another user. Without `sync` a
    power failure may truncate it.
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
