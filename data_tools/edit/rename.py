"""`eyegraft data rename`: replace one name by another in a data file."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.edit.text_edits import edit_texts
from llm.errors import ConfigError, Place, RunError

SHOWN = 5  # words in a message
# Fields that hold identifiers, paths or types: renaming in them would break the data.
KEPT = frozenset({"id", "image", "images", "image_url", "image_path", "file_name", "path", "url"}) | {
    "role",
    "from",
    "type",
    "format",
}


@dataclass(frozen=True, slots=True)
class RenameResult:
    """How often the name was replaced in each field, in how many of the file's records, and what was left."""

    fields: dict[str, int]
    rows: int
    changed: int
    other_spellings: dict[str, int] = field(default_factory=dict, compare=False)  # another case, or in a longer word


def rename(old: str, new: str, file: Path, out: Path) -> RenameResult:
    """Write `file` (JSON, JSONL, CSV or parquet) to `out` with `old` replaced in every text.

    Only complete words are replaced ("Ann" does not match "Anna"); Chinese has no word boundaries, so every occurrence
    is. Keys, ids, roles and image paths are unchanged, and so are JSONL lines without the name. Raises RunError when no
    text has the name, and what `edit_texts` raises.
    """
    if not old.strip():
        raise ConfigError("rename: the old name is empty. Give the name that is in the file")
    pattern, counts, others = _pattern(old), dict[str, int](), Counter[str]()
    anywhere = re.compile(re.escape(old), re.IGNORECASE)

    def edit(place: Place, field: str, text: str) -> str:
        others.update(word for word in _words_with(anywhere, text) if not pattern.search(word))
        text, found = pattern.subn(lambda _: new, text)
        if found:
            counts[field] = counts.get(field, 0) + found
        return text

    def check() -> None:
        if counts:
            return
        near = f"; there is {spellings(others)}" if others else ""
        raise RunError(f"{file}: no text has the name {old}{near}. Give the name as it is written; nothing was written")

    edited = edit_texts(file, out, edit, _is_identifier, check)
    return RenameResult(counts, edited.rows, edited.changed, dict(others.most_common()))


def spellings(others: Mapping[str, int]) -> str:
    """Words and how often each occurs, the first few."""
    listed = [f"{word} ({count})" for word, count in Counter(others).most_common(SHOWN)]
    return ", ".join(listed) + (f" and {len(others) - SHOWN} more words" if len(others) > SHOWN else "")


def _words_with(name: re.Pattern[str], text: str) -> Iterator[str]:
    r"""Every word that holds the name, as `\w*name\w*` finds them; that takes quadratic time where nothing is blank."""
    end = 0
    for found in name.finditer(text):
        if found.start() < end:
            continue
        start, end = found.span()
        while start and _in_word(text[start - 1]):
            start -= 1
        while end < len(text) and _in_word(text[end]):
            end += 1
        yield text[start:end]


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is_identifier(key: str) -> bool:
    return key in KEPT or key.endswith("_id")


def _pattern(old: str) -> re.Pattern[str]:
    """`old` with word boundaries where it starts or ends with a Latin letter or digit."""
    start = r"(?<![A-Za-z0-9_])" if re.match(r"[A-Za-z0-9_]", old) else ""
    end = r"(?![A-Za-z0-9_])" if re.search(r"[A-Za-z0-9_]\Z", old) else ""
    return re.compile(start + re.escape(old) + end)
