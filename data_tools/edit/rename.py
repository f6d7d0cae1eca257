"""Replace one name by another throughout a ready data file."""

import re
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.text_edits import edit_texts
from llm.errors import ConfigError, Place

# Fields that name files, rows or the kinds of things, not what is said: renaming them would break the data.
KEPT = frozenset({"id", "image", "images", "image_url", "image_path", "file_name", "path", "url"}) | {
    "role",
    "from",
    "type",
    "format",
}


@dataclass(frozen=True, slots=True)
class RenameResult:
    """How often the name was replaced in each field, and in how many of the file's rows."""

    fields: dict[str, int]
    rows: int
    changed: int


def rename(old: str, new: str, file: Path, out: Path) -> RenameResult:
    """Write `file` (JSON, JSONL, CSV or parquet) to `out` with `old` replaced in every text.

    Only whole words are replaced ("Ann" leaves "Anna" alone; Chinese has no word ends, so there every occurrence is).
    Keys, record ids, roles and image paths stay, and so do lines of JSONL without the name. Errors as `edit_texts`.
    """
    if not old.strip():
        raise ConfigError("rename: the old name is empty. Give the name that the file holds now")
    pattern, counts = _pattern(old), dict[str, int]()

    def edit(place: Place, field: str, text: str) -> str:
        text, found = pattern.subn(lambda _: new, text)
        if found:
            counts[field] = counts.get(field, 0) + found
        return text

    edited = edit_texts(file, out, edit, _is_kept)
    return RenameResult(counts, edited.rows, edited.changed)


def _is_kept(key: str) -> bool:
    return key in KEPT or key.endswith("_id")


def _pattern(old: str) -> re.Pattern[str]:
    """`old` as a whole word where its ends are Latin letters or digits."""
    start = r"(?<![A-Za-z0-9_])" if re.match(r"[A-Za-z0-9_]", old) else ""
    end = r"(?![A-Za-z0-9_])" if re.search(r"[A-Za-z0-9_]\Z", old) else ""
    return re.compile(start + re.escape(old) + end)
