"""rich, where texts may hold anything: it draws its own colours and bars; what a terminal would obey is written out."""

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.progress import Progress
from rich.segment import Segment

from llm.printable import EscapedStream, escaped_stream, printable


class Screen(Console):
    """A console whose texts are printable; what only moves the cursor is rich's own and stays."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        now = sys.stderr if stderr else sys.stdout
        below = now.rich_proxied_file if isinstance(now, EscapedStream) else now  # colours would not pass the guard
        super().__init__(file=below, stderr=stderr, soft_wrap=soft_wrap)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            Segment(text if control else printable(text), style, control) for text, style, control in buffer
        )


class Bars(Progress):
    """Bars under which others may print. rich would obey the colours and links in what they print."""

    def start(self) -> None:
        """Show them."""
        out, err = sys.stdout, sys.stderr
        super().start()
        sys.stdout, sys.stderr = _above(sys.stdout, out), _above(sys.stderr, err)


def _above(now: TextIO, before: TextIO) -> TextIO:
    """rich's own stream behind a guard, where rich has put one; it puts the one before back itself."""
    if now is before:
        return now
    return escaped_stream(now, before.rich_proxied_file if isinstance(before, EscapedStream) else before)
