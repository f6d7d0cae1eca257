"""Read the small JSON files of untrusted model folders, with bounds on size and nesting."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm.errors import ModelError
from llm.files.regular_files import VOCABULARY, read_text

LARGEST = 32 * 2**20  # bytes; the largest published tokenizer_config.json has about 2 MiB, config.json a few KiB
DEEPEST = 32  # levels of nesting; published files have up to 6


def refuse_oversized(folder: Path) -> None:
    """Raise ModelError if a JSON file of the folder is larger than it may be; libraries read these files at once."""
    for file in folder.glob("*.json"):
        small = file.name.endswith(("config.json", "_map.json"))
        most = LARGEST if small else VOCABULARY
        if file.stat().st_size > most:
            found = f"{file}: has {file.stat().st_size:,} bytes, more than the {most:,} that such a file may have"
            raise ModelError(f"{found}. Download it again.")


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ModelError for any other content, and if it exceeds the bounds."""
    try:
        if file.stat().st_size > LARGEST:
            refuse_oversized(file.parent)
        value = json.loads(read_text(file, VOCABULARY))
    except RecursionError as cause:
        raise _too_deep(file) from cause
    except (OSError, ValueError) as cause:
        raise ModelError(f"{file}: {file.name} is not valid JSON ({cause}). Copy or download it again.") from cause
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a single value")
        raise ModelError(f"{file}: {file.name} holds {kind}, not an object of keys and values. Replace it.")
    if _is_deep(value):
        raise _too_deep(file)
    return value


def read_object_if_there(file: Path) -> dict[str, Any]:
    """As `read_object`; empty if the file is missing."""
    return read_object(file) if file.is_file() else {}


def walk(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted path, value) of every value in an object, outer ones first."""
    inner: dict[str, object] = {}
    if isinstance(value, dict):
        inner = {str(key): item for key, item in value.items()}
    elif isinstance(value, list):
        inner = {str(number): item for number, item in enumerate(value)}
    for key, item in inner.items():
        place = f"{path}.{key}" if path else key
        yield place, item
        yield from walk(item, place)


def _is_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [item for outer in level for item in _inside(outer)]
    return bool(level)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep(file: Path) -> ModelError:
    return ModelError(f"{file}: {file.name} is nested more than {DEEPEST} levels deep. Replace it.")
