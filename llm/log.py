"""The logger of all library code, and the handler by which a command shows what is logged.

A program that embeds Eyegraft configures `logging.getLogger("eyegraft")` as any other logger. Without a handler
Python shows nothing below WARNING, and warnings on standard error.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from llm import console

logger = logging.getLogger("eyegraft")


class ConsoleHandler(logging.Handler):
    """Writes messages without level or time: warnings and errors to standard error, the rest to standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message; an error of the stream reaches the caller, as one of `print` does."""
        write = console.err if record.levelno >= logging.WARNING else console.out
        write(self.format(record))


@contextmanager
def log_to_console(level: int = logging.INFO) -> Iterator[None]:
    """Show what is logged at `level` or above; on exit the logger is as it was. Inside itself it changes nothing.

    Nothing is passed on to the root logger, to which libraries add handlers of their own.
    """
    if any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        yield
        return
    handler, level_before, propagate_before = ConsoleHandler(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)
        logger.propagate = propagate_before
