"""Write an export folder, replacing at most an older export. Only files that this program wrote are deleted."""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from stat import S_ISREG
from types import TracebackType

from safetensors import SafetensorError

from llm.errors import EyegraftError, RunError
from llm.files.folder_mark import MARK, Mark, read_mark, write_mark
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger

KIND, UNFINISHED = "export", "unfinished export"
SHOWN = 5  # names in a message
MADE_FROM = "Made with Eyegraft from the run `"  # in the model card of every export
# Files of exports by versions that wrote no mark; other files there are foreign.
_NAMES = re.compile(
    r"((adapter|base)/)?(README\.md|Modelfile|(model|mmproj)\.gguf|mm_projector\.bin|(adapter_)?model(-\d+-of-\d+)?\."
    r"safetensors|model\.safetensors\.index\.json|[a-z_]*config\.json|[a-z_]*tokens?(_map)?\.json|tokenizer\.(json|model)"
    r"|chat_template\.jinja|vocab\.json|merges\.txt)"
)
_RUST = re.compile(r"\(os error \d+\)")  # how the Rust libraries tokenizers and safetensors report an errno


@dataclass(frozen=True, slots=True)
class Origin:
    """What an export is made from: `source` is a hash that identifies it, `name` its name.

    With `replace` an export of another origin may be replaced. `card` is called with the written folder and the largest
    difference found, before the folder gets its final name. `merged` is the kind of adapter merged into the weights.
    """

    source: str = ""
    name: str = ""
    replace: bool = False
    card: Callable[[Path, float], None] | None = None
    merged: str = ""


UNNAMED = Origin()


def source_of(*parts: object) -> str:
    """The hash that identifies an origin; a hash, so that an export discloses no local paths.

    Paths among the parts are resolved.
    """
    resolved = [os.path.realpath(part) if isinstance(part, Path) else str(part) for part in parts]
    return hashlib.sha256("\0".join(resolved).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def check_replaceable(out: Path, origin: Origin) -> Mark | None:
    """The mark of the older export in `out`; None if `out` is missing or empty. Writes nothing.

    Raises RunError if `out` is not an export, holds foreign or modified files, or has another origin.
    """
    if not out.exists() and not out.is_symlink():
        return None
    if out.is_dir() and not any(out.iterdir()):
        return None
    mark = read_mark(out) if out.is_dir() else None
    if mark is None and out.is_dir() and _has_card(out):
        mark = _mark_of_old_version(out, origin.replace)
    if mark is None or mark.kinds != (KIND,):
        raise RunError(f"{out} exists and is not an exported model. Choose another folder, or empty it")
    if found := _foreign(out, mark):
        advice = "Move it away, or choose another folder"
        raise RunError(f"{out}: holds files that no export wrote: {_listed(found)}. {advice}")
    if origin.replace:
        return mark
    if mark.source != origin.source:
        made_of = f"of {mark.name}" if mark.name else "of something else"
        raise RunError(f"{out}: is an export {made_of}. Choose another folder, or add --replace")
    if found := _changed(out, mark):
        raise RunError(f"{out}: {_listed(found)} changed since the export. Choose another folder, or add --replace")
    return mark


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """A new hidden folder beside `out`, removed when the block ends unless it was renamed.

    Folders that killed exports have left are deleted first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(out)
    partial = _hidden(out, "partial")
    partial.mkdir()
    try:
        with _locked(partial):
            write_mark(partial, Mark((UNFINISHED,)))  # after locking: a marked folder without a lock is abandoned
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, out: Path, origin: Origin) -> None:
    """Mark a written folder and rename it to `out`. Raises RunError as `check_replaceable`, OSError by the disk."""
    write_mark(partial, Mark((KIND,), origin.source, origin.name, _files(partial, skip=MARK), origin.merged))
    older = check_replaceable(out, origin)  # again: the comparison before this takes minutes
    if older is None:
        partial.rename(out)
        return
    old = _hidden(out, "old")
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    _delete(old, older)
    logger.info(f"{out}: replaces the older export" + (f" of {older.name}" if older.name else ""))


class reporting_disk_errors:  # lower case, like the context managers of contextlib
    """Context manager for writing `out`: disk errors become RunError, whichever library reports them."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, EyegraftError):
            return
        # tokenizers raises plain Exception, safetensors SafetensorError.
        if isinstance(error, OSError | SafetensorError) or _RUST.search(str(error)):
            advice = "Free space or check the rights"
            raise RunError(f"{self.out}: the model could not be written: {error}. {advice}") from error


def _hidden(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{secrets.token_hex(4)}.{what}")


def _clear_abandoned(out: Path) -> None:
    """Delete unfinished exports beside `out` that no process has locked."""
    for folder in out.parent.glob(f".{escape(out.name)}.*.partial"):
        mark = read_mark(folder)
        if folder.is_symlink() or mark is None or mark.kinds != (UNFINISHED,):
            continue
        try:
            with _locked(folder):
                shutil.rmtree(folder)
        except BlockingIOError:
            continue


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder. Raises BlockingIOError if another process has locked it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path, skip: str = "") -> dict[str, int]:
    """Relative path -> bytes of all files and links, and of empty folders, in a folder; -1 unless a regular file."""
    found: dict[str, int] = {}
    for parent, inner, names in os.walk(folder):
        links = [name for name in inner if (Path(parent) / name).is_symlink()]
        empty = [name for name in inner if name not in links and not any((Path(parent) / name).iterdir())]
        for name in (*names, *links, *empty):
            path = Path(parent) / name
            status = path.lstat()
            found[path.relative_to(folder).as_posix()] = status.st_size if S_ISREG(status.st_mode) else -1
    return {name: size for name, size in found.items() if name != skip}


def _foreign(out: Path, mark: Mark) -> list[str]:
    return sorted(name for name, size in _files(out, MARK).items() if name not in mark.files or size < 0)


def _changed(out: Path, mark: Mark) -> list[str]:
    return sorted(name for name, size in _files(out, MARK).items() if mark.files[name] != size)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _has_card(out: Path) -> bool:
    try:
        return MADE_FROM in read_text(out / "README.md", SETTINGS)
    except (OSError, ValueError):
        return False


def _mark_of_old_version(out: Path, replace: bool) -> Mark:
    """The mark for an export of a version that wrote none. Raises RunError unless it may be replaced."""
    if not replace:
        found = f"is an export of a version that wrote no {MARK}, so its run is unknown"
        raise RunError(f"{out}: {found}. Choose another folder, or add --replace")
    return Mark((KIND,), files={name: size for name, size in _files(out).items() if _NAMES.fullmatch(name)})


def _delete(old: Path, mark: Mark) -> None:
    """Delete the files of an export and its empty folders; files that were added meanwhile are kept and logged.

    Names come from listing the folder, never from the mark: a downloaded one may name `../thesis.tex`.
    """
    for name in _files(old):
        if name == MARK or name in mark.files:
            (old / name).unlink()
    for parent, _, _ in os.walk(old, topdown=False):
        if not any(Path(parent).iterdir()):
            Path(parent).rmdir()
    if old.exists():
        logger.warning(f"{old}: files were added to the older export while it was replaced; they are kept there")
