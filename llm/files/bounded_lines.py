"""Lines of a text file with a bound on their length."""

from collections.abc import Iterator
from typing import TextIO

# Characters of a record: five images of the largest size that is read (64 MiB), in base64.
LONGEST = 512 << 20


def bounded_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """Yield (number, line with its line break). A line longer than LONGEST is cut to LONGEST + 1 characters."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        complete = len(line) <= LONGEST or line.endswith("\n")
        yield number, line
        while not complete:
            rest = file.readline(1 << 20)
            complete = not rest or rest.endswith("\n")
