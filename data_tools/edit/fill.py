"""Fill in a template file: `{{NAME}}` and `{{AUTHOR}}` in any field, as in LLaMA-Factory's identity.json.

Older releases of that file have NAME and AUTHOR without braces: use `data_tools.edit.rename` for those.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.text_edits import edit_texts
from llm.errors import ConfigError, Place, RecordError, RunError

# Any case, with or without spaces; text with inner braces, such as code, is no placeholder.
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class FillResult:
    """How often each placeholder was filled in, and in how many of the file's records."""

    counts: dict[str, int]
    rows: int
    changed: int


def fill(file: Path, out: Path, name: str, author: str) -> FillResult:
    """Write `file` to `out` with every placeholder replaced.

    Raises RunError when there is none, RecordError for an unknown placeholder, ConfigError for a name that is empty or
    has several lines, and what `edit_texts` raises.
    """
    values = {"NAME": one_line("name", name), "AUTHOR": one_line("author", author)}
    counts: Counter[str] = Counter(dict.fromkeys(values, 0))

    def edit(place: Place, field: str, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            key = found[1].upper()
            if key not in values:
                advice = "Use {{NAME}} and {{AUTHOR}}, or fill it in by hand"
                raise RecordError(place, field, f"{found[0]} is an unknown placeholder", advice)
            counts[key] += 1
            return values[key]

        return _PLACEHOLDER.sub(value, text)

    def check() -> None:
        if not counts.total():
            advice = "Older templates have NAME without braces: use eyegraft data rename. Nothing was written"
            raise RunError(f"{file}: no text has {{{{NAME}}}} or {{{{AUTHOR}}}}. {advice}")

    edited = edit_texts(file, out, edit, check=check)
    return FillResult(dict(counts), edited.rows, edited.changed)


def one_line(field: str, value: str) -> str:
    """The stripped name; ConfigError if it is empty or not printable in one line."""
    value = value.strip()
    if not value or not value.isprintable():
        raise ConfigError(
            f"{field}: {value!r} is empty or has several lines. Give it in one line, such as --{field} Iris"
        )
    return value
