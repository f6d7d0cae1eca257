"""`eyegraft.json`: the file that identifies folders that this program has written.

A folder with files under the names that a stage writes, but without the stage's mark, is foreign, and nothing is
written into it. Folders of versions that wrote no mark are recognised by the content of their files.
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
    """Which stages write into a folder (`run`, `eval`, `pipeline`); of an `export` also its source and its files."""

    kinds: tuple[str, ...]
    source: str = ""  # hash that identifies the source without its path
    name: str = ""  # name of the source
    files: Mapping[str, int] = field(default_factory=dict)  # relative path -> bytes
    merged: str = ""  # the kind of adapter that is merged into the weights: lora or qlora


@dataclass(frozen=True, slots=True)
class Claim:
    """The names under which a stage writes into its folder, and how its folders without a mark are recognised."""

    kind: str
    files: tuple[str, ...]
    earlier: Callable[[Path], bool]
    folders: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()  # glob patterns of files in those folders


def read_mark(folder: Path) -> Mark | None:
    """The mark of a folder; None without one, or if another program has a file of that name."""
    try:
        read = json.loads(read_text(folder / MARK, SETTINGS))
        if read["made by"] != "eyegraft" or read["format"] != FORMAT:
            return None
        files = {str(name): int(size) for name, size in read["files"].items()}
        merged = str(read.get("merged", ""))  # marks of earlier versions have none
        return Mark(tuple(map(str, read["kinds"])), str(read["source"]), str(read["name"]), files, merged)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def write_mark(folder: Path, mark: Mark) -> None:
    """Write the mark. Raises OSError if the folder is not writable."""
    content = {"made by": "eyegraft", "format": FORMAT, "kinds": mark.kinds, "source": mark.source, "name": mark.name}
    content |= {"merged": mark.merged} if mark.merged else {}
    write_atomically(
        folder / MARK, json.dumps(content | {"files": dict(mark.files)}, ensure_ascii=False, indent=1) + "\n"
    )


def check_claim(folder: Path, claim: Claim) -> None:
    """Raise RunError if the stage would overwrite foreign files or follow links. Writes nothing."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, not a folder. Choose another `out`")
    mark = read_mark(folder)
    if mark is None or claim.kind not in mark.kinds:
        there = [MARK] if mark is None and _exists(folder / MARK) else []
        there += [name for name in claim.files if _exists(folder / name)]
        there += [path.relative_to(folder).as_posix() for pattern in claim.inside for path in folder.glob(pattern)]
        if there and not claim.earlier(folder):
            raise RunError(
                f"{folder}: holds {', '.join(there[:5])}, which no {claim.kind} of ours wrote (no {MARK} lists it); it "
                f"would be overwritten. Choose another `out`, or move {there[0]} away"
            )
    for name in (*claim.files, MARK):
        check_owned_file(folder / name)
    for name in claim.folders:
        check_owned_folder(folder / name)


def claim(folder: Path, stage: Claim) -> None:
    """Make the folder if missing and add the stage to its mark. RunError as `check_claim`, and on disk errors."""
    check_claim(folder, stage)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark = read_mark(folder) or Mark(())
        if stage.kind not in mark.kinds:
            write_mark(folder, replace(mark, kinds=(*mark.kinds, stage.kind)))
    except OSError as error:
        raise RunError(f"{folder}: the folder cannot be written: {error}. Choose another `out`") from error


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
