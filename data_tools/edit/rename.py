"""`eyegraft data rename`: replace one name by another in a data file."""

import re
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.text_edits import edit_texts
from llm.errors import ConfigError, Place

# Fields that hold identifiers, paths or types: renaming in them would break the data.
KEPT = frozenset({"id", "image", "images", "image_url", "image_path", "file_name", "path", "url"}) | {
    "role",
    "from",
    "type",
    "format",
}


@dataclass(frozen=True, slots=True)
class RenameResult:
    """How often the name was replaced in each field, and in how many of the file's records."""

    fields: dict[str, int]
    rows: int
    changed: int


def rename(old: str, new: str, file: Path, out: Path) -> RenameResult:
    """Write `file` (JSON, JSONL, CSV or parquet) to `out` with `old` replaced in every text.

    Only complete words are replaced ("Ann" does not match "Anna"); Chinese has no word boundaries, so every occurrence
    is. Keys, ids, roles and image paths are unchanged, and so are JSONL lines without the name. Raises what
    `edit_texts` raises.
    """
    if not old.strip():
        raise ConfigError("rename: the old name is empty. Give the name that is in the file")
    pattern, counts = _pattern(old), dict[str, int]()

    def edit(place: Place, field: str, text: str) -> str:
        text, found = pattern.subn(lambda _: new, text)
        if found:
            counts[field] = counts.get(field, 0) + found
        return text

    edited = edit_texts(file, out, edit, _is_identifier)
    return RenameResult(counts, edited.rows, edited.changed)


def _is_identifier(key: str) -> bool:
    return key in KEPT or key.endswith("_id")


def _pattern(old: str) -> re.Pattern[str]:
    """`old` with word boundaries where it starts or ends with a Latin letter or digit."""
    start = r"(?<![A-Za-z0-9_])" if re.match(r"[A-Za-z0-9_]", old) else ""
    end = r"(?![A-Za-z0-9_])" if re.search(r"[A-Za-z0-9_]\Z", old) else ""
    return re.compile(start + re.escape(old) + end)
