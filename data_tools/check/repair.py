"""Repairs of `data check --fix` that leave nothing to guess; no word of a question or answer is changed."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from data_tools.rows.image_root import map_image_paths
from llm.formats.image_paths import find_image
from llm.formats.image_placeholders import PLACEHOLDER
from llm.rows.json_stream import DECODER

_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*(?:[}\]]|$))', re.DOTALL)  # a string is left as it is
_LONGEST = 4096  # characters of a path; longer texts are images in base64


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a record: what is different, before and after."""

    field: str
    before: str
    after: str


def repair_paths(row: Mapping[str, object], folder: str) -> tuple[Mapping[str, object], list[Change]]:
    """The record with image paths that name their files as they are, for those `find_image` finds."""
    changes: list[Change] = []

    def repaired(path: str) -> str:
        if len(path) > _LONGEST or os.path.lexists(os.path.join(folder, path)):
            return path
        found = find_image(folder, path)
        if not found:
            return path
        changes.append(Change("image", path, os.path.relpath(found, folder)))
        return changes[-1].after

    return map_image_paths(row, repaired), changes


def without_trailing_commas(text: str) -> object:
    """The value of JSON text without commas before a closing bracket or at the end; None if it is broken otherwise."""
    text = _COMMA.sub(lambda found: found[1] or "", text)
    try:
        value, end = DECODER.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    return value if text.lstrip()[end:].strip() in ("", "]") else None


def add_placeholders(row: Mapping[str, object]) -> tuple[Mapping[str, object], list[Change]]:
    """The record with one `<image>` for each of its images before the first question, which has none.

    Unchanged if its turns are of another form.
    """
    images = row.get("image") or row.get("images")
    count = len(images) if isinstance(images, list) else 1
    for name, text_key in (("conversations", "value"), ("messages", "content")):
        turns = row.get(name)
        if not isinstance(turns, list):
            continue
        for index, turn in enumerate(turns):
            text = turn.get(text_key) if isinstance(turn, dict) else None
            if isinstance(text, str) and {turn.get("from"), turn.get("role")} & {"human", "user"}:
                new = f"{PLACEHOLDER}\n" * count + text
                changed = [*turns[:index], {**turn, text_key: new}, *turns[index + 1 :]]
                return {**row, name: changed}, [Change(f"{name}[{index}].{text_key}", text[:80], new[:80])]
    return row, []
