"""The lines of a text that may hold one that never ends."""

from collections.abc import Iterator
from typing import TextIO

# Characters of a record: five pictures of the largest size that is read (64 MiB), in base64.
LONGEST = 512 << 20


def bounded_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """(number, line with its end). Of a line longer than LONGEST its beginning alone comes, LONGEST + 1 characters."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        whole = len(line) <= LONGEST or line.endswith("\n")
        yield number, line
        while not whole:
            rest = file.readline(1 << 20)
            whole = not rest or rest.endswith("\n")
