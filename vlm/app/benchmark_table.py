"""The results of models on benchmarks as a table for the terminal."""

from typing import TYPE_CHECKING

from llm.i18n.language import language
from llm.rich_console import Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlm.evaluate.benchmark_run import BenchmarkResult

COLUMNS = ("benchmark", "metric", "score", "interval", "chance", "blind", "questions", "unparsed")
TEXTS = 2  # columns of text, before those of numbers


def print_table(models: "Sequence[tuple[str, Sequence[BenchmarkResult]]]") -> None:
    """The main metric of every benchmark and model, with its interval, chance and blind score."""
    from rich.table import Table

    from vlm.reports.words import said

    lang = language()
    rows = [
        (one.benchmark.name if len(models) == 1 else f"{one.benchmark.name} ({model})", *_cells(one))
        for model, results in models
        for one in results
    ]
    table = Table(box=None)
    for number, key in enumerate(COLUMNS):
        longest = max(len(row[number]) for row in rows) if number else None  # headings and benchmarks are wrapped
        table.add_column(said(key, lang), justify="left" if number < TEXTS else "right", min_width=longest)
    for row in rows:
        table.add_row(*row)
    Screen().print(table)


def _cells(result: "BenchmarkResult") -> "Sequence[str]":
    from vlm.reports.words import bounds, number, said

    found, line = result.benchmark, result.benchmark.main_line
    counts = (f"{found.questions:,}", f"{found.unparsed:,}")
    if line is None:
        return (said("hidden", language()), "", "", "", "", *counts)
    values = (number(line.name, value) for value in (line.chance, line.blind))
    return (line.name, number(line.name, line.value), bounds(line), *values, *counts)
