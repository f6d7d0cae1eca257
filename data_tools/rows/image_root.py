"""Records of several image folders in one file: a common image folder, and paths relative to it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.image_paths import find_image
from llm.formats.readers import READERS
from llm.records.record import Record, Row
from llm.rows.files import data_files

_PATH_KEYS = frozenset(
    {"image", "images", "image_url", "video", "videos", "video_url", "path", "url", "file_name"}
)  # keys under which readers find paths


def common_root(folders: Sequence[str], near: Path) -> str:
    """An absolute folder that contains all these absolute folders: `near` if it does, otherwise the deepest one."""
    own = os.path.abspath(near)
    return own if os.path.commonpath([own, *folders]) == own else os.path.commonpath(folders)


def recipe_image_folder(source: Source, out: Path) -> str:
    """What a recipe must name as `images` for records of `source` in a file in the folder `out`; empty if nothing.

    ConfigError when the source has several image folders.
    """
    folders = (
        {Path(source.images)}
        if source.images
        else {file.parent for file in data_files(Path(source.path), source.split)}
    )
    if len(folders) > 1:
        advice = "Take its files one by one, or name the folder with --images"
        raise ConfigError(f"{source.path}: image paths are relative to {len(folders)} folders. {advice}")
    folder = folders.pop()
    return "" if os.path.abspath(folder) == os.path.abspath(out) else str(folder)


def image_files(record: Record) -> list[str]:
    """The image and video files that a record names, as absolute paths. Raises what its reader raises."""
    parts = [part for message in READERS[record.format].read(record) for part in message.parts]
    return [part.path for part in parts if not isinstance(part, str) and part.path]


def rebase_images(record: Record, root: str) -> object:
    """The record with image paths relative to `root`, a folder that contains its own; unchanged if it names no file.

    RecordError when the paths are under unknown keys, so that the reader would not find the same files.
    """
    files = image_files(record)
    prefix = os.path.relpath(record.images, root)
    if not files or prefix == os.curdir:
        return record.row

    def moved(path: str) -> str:
        here = os.path.lexists(os.path.join(record.images, path))
        found = "" if here else find_image(record.images, path)
        return os.path.relpath(found, root) if found else os.path.join(prefix, path)

    row = map_image_paths(record.row, moved)
    if image_files(replace(record, row=row, images=root)) != files:
        advice = "Put the images of all sources in one folder and name it with --images"
        raise record.error("images", f"could not be made relative to {root}", advice)
    return row


def map_image_paths(row: Row, change: Callable[[str], str]) -> dict[str, object]:
    """The record with every path that it has under a key of images changed; URLs and embedded images are not paths."""
    return {key: _rebase(value, key in _PATH_KEYS, change) for key, value in row.items()}


def _rebase(value: object, is_path: bool, rebase: Callable[[str], str]) -> object:
    if isinstance(value, str):
        is_url = "://" in value and not value.lower().startswith("file:")
        return rebase(value) if is_path and not is_url and not value.startswith("data:") else value
    if isinstance(value, list):
        return [_rebase(item, is_path, rebase) for item in value]
    if isinstance(value, dict):
        embedded = bool(value.get("bytes"))  # the path is only a name
        return {key: item if embedded else _rebase(item, key in _PATH_KEYS, rebase) for key, item in value.items()}
    return value
