"""metrics.jsonl of a run in pages, from either end, however long it is. A line is known by the byte after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llm.errors import RunError
from llm.files.regular_files import open_regular
from llm.track.metrics_tail import parse_line
from llm.train.metrics import NAME, MetricsLine

Numbered = tuple[int, MetricsLine]  # the byte after a line, and the line
BLOCK = 1 << 16  # bytes that are read first; twice as many each time they are not enough
MOST_BYTES = 1 << 22  # of a page


def lines_after(run: Path, place: int, limit: int) -> list[Numbered]:
    """The first lines after a byte, oldest first. Raises RunError for a file that cannot be read."""
    try:
        with open_regular(run / NAME) as stream:
            stream.seek(place)
            return _complete(stream.read(MOST_BYTES), place)[:limit]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{run / NAME}: cannot be read: {error.strerror}. Check the disk") from error


def every_line(run: Path) -> Iterator[MetricsLine]:
    """All lines, oldest first, read as they are asked for. Raises RunError for a file that cannot be read."""
    place = 0
    while page := lines_after(run, place, MOST_BYTES):
        yield from (line for _, line in page)
        place = page[-1][0]


def lines_before(run: Path, place: int | None, limit: int) -> tuple[list[Numbered], bool]:
    """The last lines that end before a byte, or of the file, newest first; and whether there may be more.

    Raises RunError for a file that cannot be read.
    """
    try:
        with open_regular(run / NAME) as stream:
            return _last(stream, place, limit)
    except FileNotFoundError:
        return [], False
    except OSError as error:
        raise RunError(f"{run / NAME}: cannot be read: {error.strerror}. Check the disk") from error


def _last(stream: BinaryIO, place: int | None, limit: int) -> tuple[list[Numbered], bool]:
    end = stream.seek(0, 2) if place is None else min(place, stream.seek(0, 2))
    size = BLOCK
    while True:
        start = max(0, end - size)
        stream.seek(start)
        found = stream.read(end - start)
        skipped = found.find(b"\n") + 1 if start else 0  # the end of a line that begins before
        lines = [one for one in _complete(found[skipped:], start + skipped) if place is None or one[0] < place]
        if start == 0 or len(lines) > limit or size >= MOST_BYTES:
            return lines[: -limit - 1 : -1], len(lines) > limit or start > 0
        size *= 2


def _complete(found: bytes, start: int) -> list[Numbered]:
    numbered, place = [], start
    for text in found.splitlines(keepends=True):
        place += len(text)
        if text.endswith(b"\n") and (line := parse_line(text)) is not None:
            numbered.append((place, line))
    return numbered
