"""An export takes the place of an older one, and of nothing else: never more is deleted than what we wrote."""

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
# What exports held before they were marked: nothing else is taken for ours there.
_NAMES = re.compile(
    r"((adapter|base)/)?(README\.md|Modelfile|(model|mmproj)\.gguf|mm_projector\.bin|(adapter_)?model(-\d+-of-\d+)?\."
    r"safetensors|model\.safetensors\.index\.json|[a-z_]*config\.json|[a-z_]*tokens?(_map)?\.json|tokenizer\.(json|model)"
    r"|chat_template\.jinja|vocab\.json|merges\.txt)"
)
_RUST = re.compile(r"\(os error \d+\)")  # how tokenizers and safetensors, which are written in Rust, pass on an errno


@dataclass(frozen=True, slots=True)
class Origin:
    """What an export is made of: `source` tells it from others, `name` is what it is called.

    With `replace` it may take the place of an export of something else. `card` is called with the written folder and
    what the proof found, before the folder gets its name.
    """

    source: str = ""
    name: str = ""
    replace: bool = False
    card: Callable[[Path, float], None] | None = None


UNNAMED = Origin()


def source_of(*parts: object) -> str:
    """What tells one origin from another: a hash, since an export is for others, whom no path of ours concerns.

    Paths among the parts are taken for the files that they lead to.
    """
    whole = [os.path.realpath(part) if isinstance(part, Path) else str(part) for part in parts]
    return hashlib.sha256("\0".join(whole).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def check_replaceable(out: Path, origin: Origin) -> Mark | None:
    """The mark of the older export in `out`, None where nothing is there. Writes nothing.

    Raises RunError where `out` is anything else, holds files of somebody else, or is of another origin.
    """
    if not out.exists() and not out.is_symlink():
        return None
    if out.is_dir() and not any(out.iterdir()):
        return None
    mark = read_mark(out) if out.is_dir() else None
    if mark is None and out.is_dir() and _has_card(out):
        mark = _of_before_marks(out, origin.replace)
    if mark is None or mark.kinds != (KIND,):
        raise RunError(f"{out} is there and is no exported model. Choose another folder, or clear it")
    if found := _not_ours(out, mark):
        advice = "Move it away, or choose another folder"
        raise RunError(f"{out}: holds what no export of ours wrote: {_listed(found)}. {advice}")
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
    """A new hidden folder beside `out`, which is gone when the block ends, unless it got another name.

    What exports that were killed left there is deleted first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(out)
    partial = _hidden(out, "partial")
    partial.mkdir()
    try:
        with _held(partial):
            write_mark(partial, Mark((UNFINISHED,)))  # behind the lock: what is marked and not held is abandoned
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, out: Path, origin: Origin) -> None:
    """Mark a written folder and rename it to `out`. Raises RunError as `check_replaceable`, OSError by the disk."""
    write_mark(partial, Mark((KIND,), origin.source, origin.name, _files(partial, skip=MARK)))
    older = check_replaceable(out, origin)  # once more: proving takes minutes
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


class reporting_disk_errors:
    """A block that writes `out`: what the disk says in it becomes a RunError, whichever library passes it on."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, EyegraftError):
            return
        # tokenizers raises a plain Exception, safetensors a type of its own.
        if isinstance(error, OSError | SafetensorError) or _RUST.search(str(error)):
            advice = "Free space or check the rights"
            raise RunError(f"{self.out}: the model could not be written: {error}. {advice}") from error


def _hidden(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{secrets.token_hex(4)}.{what}")


def _clear_abandoned(out: Path) -> None:
    """Delete unfinished exports beside `out` that no process holds any more."""
    for folder in out.parent.glob(f".{escape(out.name)}.*.partial"):
        mark = read_mark(folder)
        if folder.is_symlink() or mark is None or mark.kinds != (UNFINISHED,):
            continue
        try:
            with _held(folder):
                shutil.rmtree(folder)
        except BlockingIOError:
            continue


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder. Raises BlockingIOError where another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _files(folder: Path, skip: str = "") -> dict[str, int]:
    """Everything in a folder but the folders that hold something, by its path there, with its size; -1: no file."""
    found: dict[str, int] = {}
    for parent, inner, names in os.walk(folder):
        links = [name for name in inner if (Path(parent) / name).is_symlink()]
        empty = [name for name in inner if name not in links and not any((Path(parent) / name).iterdir())]
        for name in (*names, *links, *empty):
            path = Path(parent) / name
            status = path.lstat()
            found[path.relative_to(folder).as_posix()] = status.st_size if S_ISREG(status.st_mode) else -1
    return {name: size for name, size in found.items() if name != skip}


def _not_ours(out: Path, mark: Mark) -> list[str]:
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


def _of_before_marks(out: Path, replace: bool) -> Mark:
    """The mark that an export of an earlier version would have. Raises RunError unless it may be replaced."""
    if not replace:
        found = f"is an export of a version that left no {MARK} to say of which run"
        raise RunError(f"{out}: {found}. Choose another folder, or add --replace")
    return Mark((KIND,), files={name: size for name, size in _files(out).items() if _NAMES.fullmatch(name)})


def _delete(old: Path, mark: Mark) -> None:
    """Delete the files of an export and its folders; what came in while it was replaced stays, and is told.

    Names are taken from the folder, never from the mark: one that came with a download may say `../thesis.tex`.
    """
    for name in _files(old):
        if name == MARK or name in mark.files:
            (old / name).unlink()
    for parent, _, _ in os.walk(old, topdown=False):
        if not any(Path(parent).iterdir()):
            Path(parent).rmdir()
    if old.exists():
        logger.warning(f"{old}: files came into the older export while it was replaced; they are left there")
