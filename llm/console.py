"""Standard output and standard error of a command: the only module that calls `print`.

Library code does not write here; it logs to `llm.log.logger`, and the command decides what becomes of that.
"""

import sys


def out(text: object = "", end: str = "\n") -> None:
    """Write a line to standard output. Flushed, so that lines of both streams keep their order in a file."""
    print(text, end=end, flush=True)


def err(text: object) -> None:
    """Write a line to standard error."""
    print(text, file=sys.stderr, flush=True)
