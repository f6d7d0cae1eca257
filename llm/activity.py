"""What a long part of the program is doing, said while it lasts: with a spinner on a terminal, else as logged lines.

A command's first step may come after minutes of loading, quantising, encoding and packing; silent, it looks hung.
"""

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeVar

from rich.progress import TaskID

from llm.log import ConsoleHandler, logger
from llm.rich_console import Bars, Screen, clock

QUIET_S = 5.0  # what is over sooner is not logged
AGAIN_S = 60.0  # between two lines about the same activity
POLL_S = 0.5
IMPORTING = "importing torch and transformers"  # the first activity of most commands
COMPILER_OFF = "TORCHDYNAMO_DISABLE"  # torch.compile returns the function as it is while this is 1

ItemT = TypeVar("ItemT")


@dataclass(slots=True)
class Activity:
    """One activity: what is done, since when, and how far it is."""

    text: str
    began: float = field(default_factory=time.monotonic)
    progress: str = ""
    done: float = 0.0  # of `total`, for a bar
    total: float | None = None  # MiB; None for a spinner
    logged: float | None = None  # when it was last logged

    def __str__(self) -> str:
        return f"{self.text} {self.progress}".strip()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began


class _Display(Protocol):
    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, doing: Activity) -> None: ...

    def update(self, doing: Activity) -> None: ...

    def end(self, doing: Activity, done: bool) -> None: ...


_DISPLAY: ContextVar[_Display | None] = ContextVar("display", default=None)


@contextmanager
def activity(text: str) -> Iterator[Activity]:
    """Report `text`, such as `loading org/model`, with the time it takes until the block is left.

    Inside another activity it is shown in that one's place. `note` adds how far it is.
    """
    display = _DISPLAY.get()
    if display is not None:
        with _shown(display, text) as doing:
            yield doing
        return
    display = _Spinner() if _on_terminal() else _Lines()
    token = _DISPLAY.set(display)
    try:
        with display, _shown(display, text) as doing:
            yield doing
    finally:
        _DISPLAY.reset(token)


@contextmanager
def importing(text: str = IMPORTING) -> Iterator[None]:
    """As `activity`, for a block that imports torch and what is built on it.

    Meanwhile no garbage is collected: among half a million objects that stay, that is a fifth of the time. Afterwards
    later collections pass them over.
    """
    first = "transformers" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        with compiler_off(), activity(text):
            yield
    finally:
        if first:
            gc.freeze()
            gc.enable()


@contextmanager
def compiler_off() -> Iterator[None]:
    """Leave out torch's compiler inside the context, unless the user has decided about it.

    bitsandbytes, which peft imports, compiles four functions when it is imported: the fallbacks for devices without
    kernels of its own. That loads torch's compiler, for half a second and 45 MB, and none of ours is compiled.
    """
    if COMPILER_OFF in os.environ:
        yield
        return
    os.environ[COMPILER_OFF] = "1"
    try:
        yield
    finally:
        os.environ.pop(COMPILER_OFF, None)


def note(doing: Activity, progress: str) -> None:
    """How far the activity is, such as `12,000 records`. Cheap enough for every thousandth item."""
    doing.progress = progress
    if (display := _DISPLAY.get()) is not None:
        display.update(doing)


def note_bytes(doing: Activity, done: int, total: int) -> None:
    """How many bytes of `total` the activity has fetched: a bar on a terminal. May be called from any thread."""
    doing.done, doing.total = done / 2**20, max(total, 1) / 2**20
    note(doing, f"{doing.done:,.0f} of {doing.total:,.0f} MiB")


def tracked(items: Sequence[ItemT], text: str) -> Iterator[ItemT]:
    """The same items; meanwhile the activity `text` is shown with how many of them were taken."""
    with activity(text) as doing:
        for number, item in enumerate(items):
            note(doing, f"{number:,} of {len(items):,}")
            yield item


@contextmanager
def _shown(display: _Display, text: str) -> Iterator[Activity]:
    doing = Activity(text)
    display.begin(doing)
    done = False
    try:
        yield doing
        done = True
    finally:
        display.end(doing, done)


def _on_terminal() -> bool:
    """Whether a command shows what is logged, on a terminal; a program that embeds us gets no spinner."""
    command = any(isinstance(handler, ConsoleHandler) for handler in logger.handlers)
    return command and logger.isEnabledFor(logging.INFO) and sys.stderr.isatty()


class _Spinner:
    """A line on standard error with the innermost activity, erased at the end; long ones leave a line."""

    def __init__(self) -> None:
        self._bars = Bars(Screen(stderr=True, soft_wrap=True), transient=True)
        self._tasks: dict[TaskID, Activity] = {}

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, doing: Activity) -> None:
        self._show_last(visible=False)
        self._tasks[self._bars.add_task(doing.text, total=None)] = doing

    def update(self, doing: Activity) -> None:
        task = next((task for task, one in self._tasks.items() if one is doing), None)
        if task is not None:
            shown = "MiB" if doing.total is not None else doing.progress
            self._bars.update(task, total=doing.total, completed=doing.done, note=shown)

    def end(self, doing: Activity, done: bool) -> None:
        task, _ = self._tasks.popitem()
        self._bars.remove_task(task)
        self._show_last(visible=True)
        if done and doing.seconds >= QUIET_S:
            logger.info(f"{doing}: {clock(doing.seconds)}")

    def _show_last(self, visible: bool) -> None:
        if self._tasks:
            self._bars.update(next(reversed(self._tasks)), visible=visible)


class _Lines:
    """Logged lines about activities that last, from a thread of its own."""

    def __init__(self) -> None:
        self._running: list[Activity] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._log, daemon=True, name="activity")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, doing: Activity) -> None:
        self._running.append(doing)

    def update(self, doing: Activity) -> None:
        """Nothing: the next line has it."""

    def end(self, doing: Activity, done: bool) -> None:
        self._running.remove(doing)
        if done and doing.logged is not None:
            logger.info(f"{doing}: done in {clock(doing.seconds)}")

    def _log(self) -> None:
        while not self._over.wait(POLL_S):
            for doing in self._running[-1:]:
                since = doing.seconds if doing.logged is None else time.monotonic() - doing.logged
                if since >= (QUIET_S if doing.logged is None else AGAIN_S):
                    logger.info(f"{doing}: {clock(doing.seconds)} so far")
                    doing.logged = time.monotonic()
