"""Values as the pages write them: those of a recipe, and sizes."""

import json
import re

PLAIN = re.compile(r"[^,，\n\[]+")  # a text that may be written among others
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def written(value: object) -> str:
    """A value of a recipe as the form shows it; `SettingField.value` reads it again."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple) and value and all(map(_is_plain, value)):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)


def _is_plain(part: object) -> bool:
    return isinstance(part, int | float) or (isinstance(part, str) and PLAIN.fullmatch(part) is not None)


def size_text(size: int) -> str:
    """Bytes in a unit that people read."""
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"
    return f"{size} B"
