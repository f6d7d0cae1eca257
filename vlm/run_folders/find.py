"""Run folders below a folder."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

INSIDE = {"checkpoints", "samples", "cache"}  # folders of a run, which may hold very many files
DEEPEST = 6  # folders below the first one that are searched


def find_folders(root: Path, names: Collection[str], skipped: Path | None = None) -> Iterator[Path]:
    """Folders at or below `root` that hold a file of one of these names; links are not followed.

    `skipped`: a folder that is left out with all that is below it. Folders that cannot be read are left out.
    """
    waiting = [(root, 0)]
    for folder, depth in waiting:
        if folder == skipped:
            continue
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:  # deleted meanwhile, no permission, no folder
            continue
        is_run = any(entry.name in names for entry in found)
        if is_run:
            yield folder
        if depth < DEEPEST:
            inner = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
            waiting += [(folder / name, depth + 1) for name in inner if name not in INSIDE and name[0] != "."]
