"""JSON arrays with one record a line, so that the line of an error is the record's."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llm.files.atomic_files import atomic_file


@contextmanager
def array_writer(file: BinaryIO) -> Iterator[Callable[[bytes], None]]:
    """A function that appends one element, its JSON in one line or more; the array is closed when the block ends."""
    before = b"[\n"

    def add(element: bytes) -> None:
        nonlocal before
        file.write(before + element)
        before = b",\n"

    yield add
    file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def write_array(path: Path, rows: Iterable[object]) -> None:
    """Write an array atomically. Raises OSError if it cannot be written."""
    with atomic_file(path) as unfinished, unfinished.open("wb") as file, array_writer(file) as add:
        for row in rows:
            add(json.dumps(row, ensure_ascii=False).encode())
