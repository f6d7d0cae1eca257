"""rich's console and progress bars with escaped text: only rich's own control codes reach the terminal."""

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.progress import Progress
from rich.segment import Segment

from llm.printable import EscapedStream, escaped_stream, printable


class Screen(Console):
    """A console that escapes control characters in texts; segments that only move the cursor are rich's own."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        # Past the escaped stream, which would escape the colours.
        file = stream.rich_proxied_file if isinstance(stream, EscapedStream) else stream
        super().__init__(file=file, stderr=stderr, soft_wrap=soft_wrap)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            Segment(text if control else printable(text), style, control) for text, style, control in buffer
        )


class Bars(Progress):
    """Progress bars. Lines that other code prints meanwhile are escaped, which rich itself would not do."""

    def start(self) -> None:
        """Show the bars and redirect standard output and error to print above them."""
        out, err = sys.stdout, sys.stderr
        super().start()
        sys.stdout, sys.stderr = _escaped(sys.stdout, out), _escaped(sys.stderr, err)


def _escaped(now: TextIO, before: TextIO) -> TextIO:
    """An escaped stream over the one that rich has put in place of `before`; rich restores `before` itself."""
    if now is before:
        return now
    return escaped_stream(now, before.rich_proxied_file if isinstance(before, EscapedStream) else before)
