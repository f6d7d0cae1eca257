"""A bar for work whose end is not known: how many rows and pictures so far, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 64  # rows between two looks at the clock


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """What is told of rows and pictures so far; nothing is drawn where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda rows, images: None
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from llm.rich_console import Bars, Screen

    text = TextColumn("{task.description} {task.fields[rows]:,} rows, {task.fields[images]:,} images", markup=False)
    with Bars(SpinnerColumn(), text, TimeElapsedColumn(), console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None, rows=0, images=0)

        def tell(rows: int, images: int) -> None:
            if rows % EVERY == 0:
                progress.update(task, rows=rows, images=images)

        yield tell
