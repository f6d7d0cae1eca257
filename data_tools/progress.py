"""The progress of a command on standard error: drawn on a terminal only."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from llm.console import localized
from llm.rich_console import Bars, Screen

ItemT = TypeVar("ItemT")
REFRESH_SECONDS = 0.1  # between two updates; rich draws ten times a second


class ProgressBar:
    """A bar with a note for `total` items, which stays when it ends; without `total` a spinner, which is erased."""

    def __init__(self, title: str, total: int | None = None, completed: int = 0) -> None:
        self._console = Screen(stderr=True, soft_wrap=True)
        self._bars = Bars(self._console, transient=total is None, disable=not sys.stderr.isatty())
        self._task = self._bars.add_task(title, total=total, completed=completed, note="")
        self._latest = (completed, "")
        self._drawn_at = float("-inf")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()
        self._bars.stop()

    def update(self, completed: int, note: str = "") -> None:
        """Set how many items are completed, and the note beside the bar. Cheap enough to call for every item."""
        self._latest = (completed, note)
        if time.monotonic() - self._drawn_at >= REFRESH_SECONDS:
            self._draw()

    def print(self, text: str) -> None:
        """Write a line above the bar; where there is none, to standard error."""
        self._console.print(localized(text), markup=False, highlight=False)

    def _draw(self) -> None:
        completed, note = self._latest
        self._bars.update(self._task, completed=completed, note=note)
        self._drawn_at = time.monotonic()


def count_items(items: Iterable[ItemT], title: str, noun: str = "records") -> Iterator[ItemT]:
    """The same items; meanwhile a spinner shows how many were taken."""
    with ProgressBar(title) as bar:
        for number, item in enumerate(items, 1):
            bar.update(number, f"{number:,} {noun}")
            yield item
