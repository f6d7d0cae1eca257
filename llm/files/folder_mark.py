"""`eyegraft.json`: the mark in every folder that is written into, by which we know our own again.

A folder that holds files under the names that a stage writes, and not the stage's mark, is somebody else's: nothing is
written into it. Folders that were written before there was a mark are known by what stands in their files.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from llm.errors import RunError
from llm.files.atomic_files import write_atomically
from llm.files.owned_files import check_owned_file, check_owned_folder
from llm.files.regular_files import SETTINGS, read_text

MARK = "eyegraft.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """What writes into a folder (`run`, `eval`, `pipeline`), or that it is an `export`: of what, and all its files."""

    kinds: tuple[str, ...]
    source: str = ""  # tells one run from another without saying where it lies
    name: str = ""  # what the source is called
    files: Mapping[str, int] = field(default_factory=dict)  # path in the folder -> bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What a stage writes into its folder under fixed names, and how its folders from before the mark are known."""

    kind: str
    files: tuple[str, ...]
    earlier: Callable[[Path], bool]
    folders: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()  # patterns of what it writes into those folders


def read_mark(folder: Path) -> Mark | None:
    """The mark of a folder; None where there is none, or another program's file of that name."""
    try:
        read = json.loads(read_text(folder / MARK, SETTINGS))
        if read["made by"] != "eyegraft" or read["format"] != FORMAT:
            return None
        files = {str(name): int(size) for name, size in read["files"].items()}
        return Mark(tuple(map(str, read["kinds"])), str(read["source"]), str(read["name"]), files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def write_mark(folder: Path, mark: Mark) -> None:
    """Leave the mark. Raises OSError where the folder cannot be written."""
    content = {"made by": "eyegraft", "format": FORMAT, "kinds": mark.kinds, "source": mark.source, "name": mark.name}
    write_atomically(
        folder / MARK, json.dumps(content | {"files": dict(mark.files)}, ensure_ascii=False, indent=1) + "\n"
    )


def check_claim(folder: Path, claim: Claim) -> None:
    """Raise RunError where the stage would write over what is not its own, or through a link. Writes nothing."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, where the folder to write belongs. Choose another `out`")
    mark = read_mark(folder)
    if mark is None or claim.kind not in mark.kinds:
        there = [MARK] if mark is None and _stands(folder / MARK) else []
        there += [name for name in claim.files if _stands(folder / name)]
        there += [path.relative_to(folder).as_posix() for pattern in claim.inside for path in folder.glob(pattern)]
        if there and not claim.earlier(folder):
            raise RunError(
                f"{folder}: holds {', '.join(there[:5])}, which no {claim.kind} of ours wrote (there is no {MARK} that "
                f"says so); it would be written over. Choose another `out`, or move {there[0]} away"
            )
    for name in (*claim.files, MARK):
        check_owned_file(folder / name)
    for name in claim.folders:
        check_owned_folder(folder / name)


def claim(folder: Path, stage: Claim) -> None:
    """Make the folder if need be, and mark it as the stage's. Raises RunError as `check_claim`, or on a bad disk."""
    check_claim(folder, stage)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark = read_mark(folder) or Mark(())
        if stage.kind not in mark.kinds:
            write_mark(folder, replace(mark, kinds=(*mark.kinds, stage.kind)))
    except OSError as error:
        raise RunError(f"{folder}: the folder cannot be written: {error}. Choose another `out`") from error


def _stands(path: Path) -> bool:
    return path.exists() or path.is_symlink()
