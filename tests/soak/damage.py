"""Ways to damage a file of a checkpoint; each changes at least one byte, or another is drawn."""

import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Harm = Callable[[Path, random.Random], None]


def _flip(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def _zero(file: Path, draw: random.Random) -> None:
    """A block of zeros, as if it was never written."""
    data = bytearray(file.read_bytes())
    start = draw.randrange(len(data))
    data[start : start + 512] = bytes(len(data[start : start + 512]))
    file.write_bytes(data)


def _truncate(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data))])


def _empty(file: Path, _: random.Random) -> None:
    file.write_bytes(b"")


def _append(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes() + draw.randbytes(draw.randrange(1, 9)))


def _delete(file: Path, _: random.Random) -> None:
    file.unlink()


def _become_a_folder(file: Path, _: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _swap(file: Path, draw: random.Random) -> None:
    """Swap contents with another file of the checkpoint."""
    other = draw.choice(sorted(path for path in file.parent.iterdir() if path != file))
    ours, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(ours)


def _exchange(file: Path, draw: random.Random) -> None:
    """Replace by the same file of another checkpoint."""
    others = [path / file.name for path in file.parent.parent.glob("step-*") if path != file.parent]
    if others and draw.choice(others).is_file():
        file.write_bytes(draw.choice(others).read_bytes())


def _add(file: Path, draw: random.Random) -> None:
    """Add a shard, which a reader that lists files would read."""
    shutil.copy(file, file.with_name(f"state-{draw.randrange(100, 999)}.safetensors"))


HARMS: dict[str, Harm] = {
    "bit flipped": _flip,
    "block of zeros": _zero,
    "cut off": _truncate,
    "emptied": _empty,
    "bytes appended": _append,
    "deleted": _delete,
    "a folder instead": _become_a_folder,
    "swapped with another file": _swap,
    "of another checkpoint": _exchange,
    "a file too many": _add,
}


def damage(checkpoint: Path, draw: random.Random) -> str:
    """Damage one file of a checkpoint at random; returns what was done to which."""
    before = prints(checkpoint)
    while prints(checkpoint) == before:
        name = draw.choice(list(HARMS))
        file = draw.choice(sorted(checkpoint.iterdir()))
        HARMS[name](file, draw)
    return f"{file.name}: {name}"


def prints(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder by its path, and the folders; without the lock file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != "writer.lock"
    }
