"""A report as one HTML file without scripts and without requests: both languages, tables and the worst answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from llm.i18n.translate import Language, translated_error
from llm.printable import printable
from vlm.reports.summary import Benchmark
from vlm.reports.words import LANGUAGES, bounds, number, said
from vlm.reports.worst_cases import WorstCase

_TEMPLATE = Path(__file__).with_name("page.html")


def html_page(
    model: str,
    benchmarks: Sequence[Benchmark],
    worst: Mapping[str, Sequence[WorstCase]],
    verdicts: Mapping[Language, Sequence[str]] | None = None,
) -> str:
    """The page; `worst` are cases by the benchmark's name, `verdicts` sentences of comparisons by language.

    All texts are escaped by the template engine; the page's policy allows no script and no request.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.globals.update(said=said, number=number, bounds=bounds, translated=translated_error)
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    return template.render(
        model=model, benchmarks=benchmarks, worst=worst, verdicts=verdicts or {}, languages=LANGUAGES
    )


def _shown(value: object) -> object:
    """Control characters and those that turn the direction of writing are written out."""
    return printable(value) if type(value) is str else value
