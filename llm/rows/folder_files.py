"""The data files of a folder: all of them, or those of one split where the folder has splits.

The splits are what a Hugging Face README or `save_to_disk` declares; otherwise those of the files' names.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llm.errors import DataError
from llm.files.regular_files import SETTINGS, read_text
from llm.rows.hub_card import card_files
from llm.rows.split_names import missing_split, same_split, split_of

DESCRIPTIONS = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files that `datasets` and LLaMA-Factory write beside the data."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files that are read, and one line on what is not; empty where everything is."""

    files: tuple[Path, ...]
    unread: str = ""


def choose_files(folder: Path, found: Sequence[Path], split: str, are_texts: bool) -> FolderFiles:
    """The files of `split` among the data files `found` of a folder. Raises DataError when there is no such split."""
    if named := _saved_splits(folder):
        return _choose(folder, {name: _saved_files(folder / name) for name in named}, [], split)
    if saved := _saved_files(folder):
        return FolderFiles(tuple(saved))
    if declared := card_files(folder):
        return _choose(folder, declared, [], split)
    records = [file for file in found if file.name not in DESCRIPTIONS] or list(found)
    groups: dict[str, list[Path]] = {}
    for file in records:
        groups.setdefault(split_of(PurePosixPath(file.relative_to(folder))), []).append(file)
    rest = groups.pop("", [])
    if not groups or (are_texts and rest):  # a folder of source code has files such as test_loop.py and train.py
        return FolderFiles(tuple(records))
    if rest and not any(same_split(name, "train") for name in groups):
        groups["train"], rest = rest, []
    return _choose(folder, groups, rest, split)


def _choose(folder: Path, groups: dict[str, list[Path]], rest: Sequence[Path], split: str) -> FolderFiles:
    name = split if split in groups else next((name for name in groups if same_split(name, split)), None)
    if name is None:
        raise DataError(missing_split(folder, groups, split))
    others = [f"{other} ({_counted(len(files))})" for other, files in groups.items() if other != name]
    others += [f"{_counted(len(rest))} of no split, such as {rest[0].name}"] if rest else []
    unread = f"{folder}: reads the split {name}; not read: {', '.join(others)}" if others else ""
    return FolderFiles(tuple(groups[name]), unread)


def _counted(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _saved_splits(folder: Path) -> list[str]:
    """The splits that a `DatasetDict` saved in this folder."""
    names = _object(folder / "dataset_dict.json").get("splits")
    return [str(name) for name in names if (folder / str(name)).is_dir()] if isinstance(names, list) else []


def _saved_files(folder: Path) -> list[Path]:
    """The files that `Dataset.save_to_disk` lists; results of `map` are cached beside them."""
    listed = _object(folder / "state.json").get("_data_files")
    names = [item.get("filename") for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [folder / Path(name).name for name in names if isinstance(name, str)]


def _object(file: Path) -> dict[str, object]:
    """The JSON object in a small file; empty if it is missing or something else."""
    try:
        value = json.loads(read_text(file, SETTINGS))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
