"""Progress on a terminal: how many are answered, failed and asked again, and the tokens used."""

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data_tools.ask.workers import AskProgress
from llm.rich_console import Bars, Screen


class Bar:
    """A bar on stderr; nothing where that is no terminal."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self._console = Screen(stderr=True, soft_wrap=True)
        self._bar = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(name, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, tally: AskProgress) -> None:
        """Move it."""
        self._bar.update(self._task, completed=len(tally.rows) + len(tally.failed), note=note(tally))

    def say(self, text: str) -> None:
        """A line above it."""
        self._console.print(text, markup=False, highlight=False)


def note(tally: AskProgress) -> str:
    """The counts behind the bar."""
    tokens = tally.tokens.prompt + tally.tokens.completion
    return f"{len(tally.failed)} failed  {tally.retried} retried  {tokens:,} tokens"
