"""ScienceQA's problems.json, whose splits are in pid_splits.json beside it."""

import json
from dataclasses import dataclass
from pathlib import Path

from llm.errors import DataError
from llm.files.regular_files import SETTINGS, read_text
from vlm.questions.file_rows import FileRows

SPLITS = "pid_splits.json"
_TESTED = "test"


@dataclass(frozen=True, slots=True)
class Split:
    """The ids of the questions of one split, and a line for the log."""

    ids: frozenset[str]
    note: str


def is_splits_file(path: Path) -> bool:
    """Whether a file is the list of splits, which is read with the problems."""
    return path.name == SPLITS


def chosen_split(file: FileRows, split: str) -> Split | None:
    """The questions of the split of an object of problems, by default of `test`; None without the list of splits.

    Raises DataError for a list that cannot be read or has no such split.
    """
    beside = file.path.parent / SPLITS
    if not file.is_keyed or not beside.is_file():
        return None
    name = split or _TESTED
    try:
        splits = json.loads(read_text(beside, SETTINGS, "utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{beside}: cannot be read as JSON: {error}. Download it again") from error
    listed = splits.get(name) if isinstance(splits, dict) else None
    if not isinstance(listed, list):
        raise DataError(f"{beside}: has no list {name}. Name a split that is there")
    ids = frozenset(str(one) for one in listed)
    absent = len(ids - {item.member for item in file.items})
    missing = f"; {absent:,} of its questions are not in the file" if absent else ""
    return Split(ids, f"{file.path}: asks the {len(ids):,} questions of split {name}{missing}")
