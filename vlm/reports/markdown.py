"""A report as Markdown: a table of all benchmarks, and one of each benchmark's metrics."""

import re
from collections.abc import Sequence

from llm.i18n.translate import Language, translated_error
from llm.printable import printable
from vlm.reports.summary import Benchmark
from vlm.reports.words import bounds, number, said

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#!&~$])")


def markdown(model: str, benchmarks: Sequence[Benchmark], lang: Language = "en", verdicts: Sequence[str] = ()) -> str:
    """The report; `verdicts` are sentences of comparisons with another model, in `lang`."""
    lines = [f"# {said('title', lang, _text(model))}", ""]
    lines += [*_table(_HEAD, [_row(one, lang) for one in benchmarks], lang), "", said("about", lang), ""]
    if verdicts:
        lines += [f"## {said('compared', lang)}", "", *(f"- {_text(one)}" for one in verdicts), ""]
    for one in benchmarks:
        lines += [f"## {_text(one.name)}", ""]
        cells = [
            [_text(line.name), number(line.name, line.value), bounds(line), number(line.name, line.chance),
             number(line.name, line.blind), f"{line.questions:,}"]
            for line in one.metrics
        ]  # fmt: skip
        lines += [*_table(_METRICS, cells, lang), ""] if cells else [said("hidden", lang), ""]
        lines += [f"- {_text(translated_error(note, lang))}" for note in one.notes] + ([""] if one.notes else [])
    return "\n".join(lines).rstrip("\n") + "\n"


_HEAD = ("benchmark", "metric", "score", "interval", "chance", "blind", "questions", "refusals", "unparsed", "lost")
_METRICS = ("metric", "score", "interval", "chance", "blind", "questions")


def _row(one: Benchmark, lang: Language) -> list[str]:
    line = one.main_line
    counts = [f"{one.questions:,}", f"{one.refusals:,}", f"{one.unparsed:,}", f"{one.lost:,}"]
    if line is None:
        return [_text(one.name), said("hidden", lang), "–", "–", "–", "–", *counts]
    values = [
        number(line.name, line.value),
        bounds(line),
        number(line.name, line.chance),
        number(line.name, line.blind),
    ]
    return [_text(one.name), _text(line.name), *values, *counts]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], lang: Language) -> list[str]:
    lines = [[said(name, lang) for name in head], ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _text(text: str) -> str:
    """A text of others: on one line, without meaning for Markdown and HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))
