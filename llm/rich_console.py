"""rich's console and progress bars with escaped text: only rich's own control codes reach the terminal."""

import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.segment import Segment
from rich.text import Text

from llm.console import localized
from llm.printable import EscapedStream, escaped_stream, printable

LONGEST_NAME = 24  # cells
SHORTEST_BAR, LONGEST_BAR = 8, 40
NARROW = 60  # cells below which a bar is worth more than the noun
WINDOW = 50  # latest updates from which the time left is estimated
SPINNER = "|/-\\"  # in any encoding


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
    """A progress bar of one line at any width, or without a total a spinner. `note` is a field of each task.

    Lines that other code prints meanwhile are escaped, which rich itself would not do.
    """

    def __init__(self, console: Screen, noun: str = "", transient: bool = False, disable: bool = False) -> None:
        """`noun`: what is counted, such as step; shown where there is room."""
        # rich would send the lines of a standard output that is no terminal to the console of the bar.
        to_screen = sys.stdout.isatty()
        super().__init__(
            _BarLine(console, noun), console=console, transient=transient, disable=disable, redirect_stdout=to_screen
        )

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


class TimeLeft:
    """Estimates the seconds that remain from the latest updates, however slow they are."""

    def __init__(self, done: float = 0, now: float | None = None) -> None:
        self._seen = deque([(time.monotonic() if now is None else now, done)], WINDOW)

    def update(self, done: float, now: float | None = None) -> None:
        """So many items are done."""
        if done != self._seen[-1][1]:
            self._seen.append((time.monotonic() if now is None else now, done))

    def seconds(self, total: float, now: float | None = None) -> float | None:
        """Seconds until `total` items are done; None before the first item."""
        (began, first), (latest, last) = self._seen[0], self._seen[-1]
        if last <= first:
            return None
        since = (time.monotonic() if now is None else now) - latest
        return max(0.0, (total - last) * (latest - began) / (last - first) - since)


class _BarLine(ProgressColumn):
    """A task as one line that fits the console."""

    def __init__(self, console: Screen, noun: str) -> None:
        super().__init__()
        self._console, self._noun = console, noun
        self._left: dict[int, TimeLeft] = {}

    def render(self, task: Task) -> Text:
        """The line."""
        width, note = self._console.width - 1, localized(task.fields.get("note", ""))
        name = localized(task.description)
        elapsed = clock(task.elapsed or 0.0)
        if task.total is None:
            mark = SPINNER[int((task.elapsed or 0.0) * 8) % len(SPINNER)]
            return Text(spinner_line(width, mark, name, note, elapsed), no_wrap=True, overflow="crop")
        left = self._left.setdefault(task.id, TimeLeft(task.completed))
        left.update(task.completed)
        seconds = 0.0 if task.finished else left.seconds(task.total)
        noun = localized(self._noun) if width >= NARROW else ""
        counts = f"{noun} {task.completed:.0f}/{task.total:.0f}".lstrip()
        share = task.completed / task.total if task.total else 1.0
        marks = ("#", "-") if self._console.options.ascii_only else ("━", "─")
        times = localized(f"{elapsed}, {clock(seconds)} left")
        line = bar_line(width, printable(name), (counts, times, printable(note)), share, marks)
        text = Text(line, no_wrap=True, overflow="crop")
        text.highlight_regex(rf"{marks[0]}+", "green")
        return text


def bar_line(
    width: int, name: str, texts: tuple[str, str, str], share: float, marks: tuple[str, str] = ("━", "─")
) -> str:
    """`name bar counts times note` in at most `width` cells; `texts` are the last three.

    Counts and times stay at any width; where it is narrow the note goes first, then the name, then the bar.
    """
    counts, times, note = texts
    fixed = f"{counts}  {times}"
    room = width - cell_len(fixed)
    if note and room >= cell_len(note) + 2 + SHORTEST_BAR + 2 + LONGEST_NAME:
        fixed, room = f"{fixed}  {note}", room - cell_len(note) - 2
    named = min(cell_len(name), LONGEST_NAME)
    if room >= named + 2 + SHORTEST_BAR + 2:
        shown = name if cell_len(name) <= named else set_cell_size(name, named - 1) + "…"
        return f"{shown}  {_bar(room - named - 4, share, marks)}  {fixed}"
    if room >= SHORTEST_BAR + 2:
        return f"{_bar(room - 2, share, marks)}  {fixed}"
    return fixed


def spinner_line(width: int, mark: str, text: str, note: str, elapsed: str) -> str:
    """`mark text note elapsed` in at most `width` cells: the text is cut, the time stays."""
    said = f"{printable(text)} {printable(note)}".strip()
    room = max(1, width - len(elapsed) - 4)
    return f"{mark} {said if cell_len(said) <= room else set_cell_size(said, room - 1) + '…'}  {elapsed}"


def _bar(room: int, share: float, marks: tuple[str, str]) -> str:
    cells = min(room, LONGEST_BAR)
    full = min(cells, int(share * cells))
    return marks[0] * full + marks[1] * (cells - full)


def clock(seconds: float | None) -> str:
    """`h:mm:ss`; `-:--:--` for None."""
    if seconds is None:
        return "-:--:--"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
