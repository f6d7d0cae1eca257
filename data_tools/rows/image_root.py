"""Rows of several folders in one file: one image folder for all, and paths that lead from it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.conversation import ImageRef
from llm.formats.readers import READERS
from llm.formats.row_files import Record, data_files

_PATHS = frozenset({"image", "images", "image_url", "path", "url", "file_name"})  # where the readers find paths


def common_root(folders: Sequence[str], near: Path) -> str:
    """The absolute folder under which all these absolute folders lie: `near` if it will do, else the nearest."""
    own = os.path.abspath(near)
    return own if os.path.commonpath([own, *folders]) == own else os.path.commonpath(folders)


def recipe_image_folder(source: Source, out: Path) -> str:
    """What a recipe must name as `images` for rows of `source` that lie in the folder `out`; empty where nothing.

    ConfigError when the source has several image folders.
    """
    folders = {Path(source.images)} if source.images else {file.parent for file in data_files(Path(source.path))}
    if len(folders) > 1:
        advice = "Take its files one by one, or name the folder with --images"
        raise ConfigError(f"{source.path}: image paths are relative to {len(folders)} folders. {advice}")
    folder = folders.pop()
    return "" if os.path.abspath(folder) == os.path.abspath(out) else str(folder)


def image_files(record: Record) -> list[str]:
    """The picture files that a row names, as absolute paths. Raises what its reader raises."""
    parts = [part for message in READERS[record.format].read(record) for part in message.parts]
    return [part.path for part in parts if isinstance(part, ImageRef) and part.path]


def rebase_images(record: Record, root: str) -> object:
    """The row with its image paths relative to `root`, a folder around its own; as it is where it names none.

    RecordError when the row keeps its paths where they are not looked for: its reader must find the same files.
    """
    files = image_files(record)
    prefix = os.path.relpath(record.images, root)
    if not files or prefix == os.curdir:
        return record.row
    row = {
        key: _moved(value, key in _PATHS, lambda path: os.path.join(prefix, path)) for key, value in record.row.items()
    }
    if image_files(replace(record, row=row, images=root)) != files:
        advice = "Put the sources' images in one folder and name it with --images"
        raise record.error("images", f"could not be told from {root}", advice)
    return row


def _moved(value: object, is_path: bool, move: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return move(value) if is_path and "://" not in value and not value.startswith("data:") else value
    if isinstance(value, list):
        return [_moved(item, is_path, move) for item in value]
    if isinstance(value, dict):
        embedded = bool(value.get("bytes"))  # its path is only a name
        return {key: item if embedded else _moved(item, key in _PATHS, move) for key, item in value.items()}
    return value
