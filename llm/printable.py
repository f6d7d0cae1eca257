"""Text on its way to the screen: what a terminal would obey, or hide, is written out.

Ids, file names, refusals, answers and templates are whatever somebody wrote into them. Sent as it is, such a text can
clear the screen, overwrite the line before it, rename the window, put text into the clipboard, or turn letters round.
`escape_output` stands where all text leaves the process, so that nothing that prints has to think of it.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

# C0 and C1 controls except tab and line break (and the carriage return of one), DEL, the separators of lines and
# paragraphs, embeddings and isolates of writing direction, halves of surrogate pairs.
_OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)")


def printable(text: str) -> str:
    r"""The text with every such character as JSON may write it (\u001b): output that is JSON stays the same JSON."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class EscapedStream:
    """A text stream that writes what is printable, and is otherwise the one below it."""

    def __init__(self, below: TextIO, screen: TextIO | None = None, bars: bool = False) -> None:
        """`screen` is what lies at the bottom, when `below` is no stream of the system but of rich.

        With `bars` a carriage return that begins a write goes through where it can overwrite nothing but a line made
        in the same way: so the bars of libraries (tqdm) move, and no text hides another.
        """
        self._below = below
        self._bars, self._overwritable = bars, True
        self.rich_proxied_file = screen or below  # for rich's own escape codes, see llm/rich_console.py

    def write(self, text: str) -> int:
        """Write it; returns how many characters were given."""
        bar = self._bars and self._overwritable and text.startswith("\r") and "\n" not in text
        self._below.write("\r" + printable(text[1:]) if bar else printable(text))
        if text:
            self._overwritable = bar or text.endswith("\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def escaped_stream(below: TextIO, screen: TextIO | None = None, bars: bool = False) -> TextIO:
    """The stream behind a guard; itself where it has one."""
    return below if isinstance(below, EscapedStream) else cast(TextIO, EscapedStream(below, screen, bars))


def escape_output() -> None:
    """Put both streams of this process behind a guard, for good: a traceback passes it too."""
    sys.stdout, sys.stderr = escaped_stream(sys.stdout), escaped_stream(sys.stderr, bars=True)
