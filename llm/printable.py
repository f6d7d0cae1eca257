"""Escape control characters in all text that is written to a terminal.

Ids, file names, answers and templates may hold anything. Written unescaped they could clear the screen, overwrite the
line above, set the window's title, fill the clipboard or reverse the direction of writing. `escape_output` replaces
both output streams once, so that code that prints need not escape.
"""

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO, cast

# C0 and C1 controls except tab, line feed and the carriage return before one; DEL; line and paragraph separators;
# embeddings and isolates of writing direction; lone surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")


def printable(text: str) -> str:
    r"""The text with control characters as JSON escapes (\u001b), so that JSON output keeps its meaning."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class EscapedStream:
    """A text stream that escapes what is written and is otherwise the stream `below` it."""

    def __init__(self, below: TextIO, screen: TextIO | None = None, bars: bool = False) -> None:
        """`screen`: the system's stream, when `below` is a wrapper that rich has put around it.

        With `bars` a write may begin with a carriage return if it overwrites nothing but such a line: progress bars of
        libraries (tqdm) work, and no text can hide another.
        """
        self._below = below
        self._bars, self._overwritable = bars, True
        self.rich_proxied_file = screen or below  # where rich writes its own escape codes

    def write(self, text: str) -> int:
        """Write the text escaped; returns its length before that."""
        bar = self._bars and self._overwritable and text.startswith("\r") and "\n" not in text
        self._below.write("\r" + printable(text[1:]) if bar else printable(text))
        if text:
            self._overwritable = bar or text.endswith("\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def escaped_stream(below: TextIO, screen: TextIO | None = None, bars: bool = False) -> TextIO:
    """The stream as an `EscapedStream`; the stream itself if it is one."""
    return below if isinstance(below, EscapedStream) else cast(TextIO, EscapedStream(below, screen, bars))


def escape_output() -> None:
    """Replace standard output and error of this process by escaped streams, for tracebacks too."""
    sys.stdout, sys.stderr = escaped_stream(sys.stdout), escaped_stream(sys.stderr, bars=True)


def notify_from_signal_handler(text: str) -> None:
    """Write a line to standard error at once, where it is a terminal. `print` may not be called in a signal handler."""
    if sys.stderr is not None and sys.stderr.isatty():
        with suppress(OSError):
            os.write(2, f"\n{printable(text)}\n".encode())
