"""Fill a template file: `{{NAME}}` and `{{AUTHOR}}` in any field, as LLaMA-Factory's identity.json has them.

Its older releases write NAME and AUTHOR bare: those are for `data_tools.edit.rename`.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.text_edits import edit_texts
from llm.errors import ConfigError, Place, RecordError

# Any case, with or without spaces; what holds braces of its own, a snippet of code say, is no placeholder.
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class FillResult:
    """How often each placeholder was filled, and in how many of the file's rows."""

    counts: dict[str, int]
    rows: int
    changed: int


def fill(file: Path, out: Path, name: str, author: str) -> FillResult:
    """Write `file` to `out` with every placeholder replaced; RecordError with its place at one of another name.

    Otherwise errors as `edit_texts`; ConfigError for a name that is empty or of several lines.
    """
    values = {"NAME": one_line("name", name), "AUTHOR": one_line("author", author)}
    counts: Counter[str] = Counter(dict.fromkeys(values, 0))

    def edit(place: Place, field: str, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            key = found[1].upper()
            if key not in values:
                advice = "Known are {{NAME}} and {{AUTHOR}}: correct it, or fill it by hand"
                raise RecordError(place, field, f"{found[0]} is unknown", advice)
            counts[key] += 1
            return values[key]

        return _PLACEHOLDER.sub(value, text)

    edited = edit_texts(file, out, edit)
    return FillResult(dict(counts), edited.rows, edited.changed)


def one_line(field: str, value: str) -> str:
    """A name without white space around it; ConfigError unless it can be said in one line."""
    value = value.strip()
    if not value or not value.isprintable():
        raise ConfigError(f"{field}: {value!r} cannot be spoken. Give it in one line, such as --{field} Iris")
    return value
