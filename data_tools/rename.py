"""Replace one name by another throughout a ready data file."""

import json
import re
from pathlib import Path

from llm.errors import ConfigError, DataError, Place, RecordError, RunError

# Fields that name things on disk or rows of a table: renaming them would break the data.
KEPT = frozenset({"id", "image", "images"})


def rename(old: str, new: str, file: Path, out: Path) -> dict[str, int]:
    """Write `file` (JSON, or JSONL by its suffix) to `out` with `old` replaced in every text; how often, by field.

    Only whole words are replaced ("Ann" leaves "Anna" alone; Chinese has no word ends, so there every occurrence is).
    Keys, record ids and image paths stay. DataError or RecordError if the file cannot be read, RunError if `out` cannot
    be written.
    """
    if not old.strip():
        raise ConfigError("rename: the old name is empty. Give the name that the file holds now")
    pattern, counts = _pattern(old), dict[str, int]()
    rows = [_renamed(row, "", pattern, new, counts) for row in _read(file)]
    dumped = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = "\n".join(dumped) + "\n" if _is_lines(file) else json.dumps(rows[0], ensure_ascii=False, indent=1) + "\n"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable place") from error
    return counts


def _pattern(old: str) -> re.Pattern[str]:
    """`old` as a whole word where its ends are Latin letters or digits."""
    start = r"(?<![A-Za-z0-9_])" if re.match(r"[A-Za-z0-9_]", old) else ""
    end = r"(?![A-Za-z0-9_])" if re.search(r"[A-Za-z0-9_]\Z", old) else ""
    return re.compile(start + re.escape(old) + end)


def _renamed(value: object, field: str, pattern: re.Pattern[str], new: str, counts: dict[str, int]) -> object:
    """The value with every text in it renamed; `counts` grows under the text's field."""
    if isinstance(value, str):
        text, found = pattern.subn(lambda _: new, value)
        if found:
            counts[field] = counts.get(field, 0) + found
        return text
    if isinstance(value, list):
        return [_renamed(item, field, pattern, new, counts) for item in value]
    if isinstance(value, dict):
        return {
            key: item if key in KEPT else _renamed(item, f"{field}.{key}".lstrip("."), pattern, new, counts)
            for key, item in value.items()
        }
    return value


def _is_lines(file: Path) -> bool:
    return file.suffix.lower() in (".jsonl", ".ndjson")


def _read(file: Path) -> list[object]:
    """The values of the file: one for JSON, one a line for JSONL."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: unreadable ({error}). Give a JSON or JSONL file in UTF-8") from error
    pieces = (
        [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()] if _is_lines(file) else [(1, text)]
    )
    return [_parsed(file, number, piece) for number, piece in pieces]


def _parsed(file: Path, number: int, piece: str) -> object:
    try:
        return json.loads(piece)
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise RecordError(Place(str(file), line), "JSON", error.msg, "Mend the file at this line") from error
