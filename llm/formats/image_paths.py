"""Image paths as people and other systems write them, and the files of the image folder that they mean.

A path that names a file as it is written costs one question to the disk, and none once its folder has been listed:
for a path that names no file, or after a thousand that do. On network disks and in sandboxes a question takes longer
than reading the record.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote, urlsplit

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SHOWN = 3  # names in a message
_OFTEN = 1000  # questions about files of one folder, after which it is listed
_LARGE = 1 << 18  # names of a folder that are held at most
_DEEPEST = 4  # folders, each alone in the one above it, of which the innermost may hold the images
_Names = dict[str, tuple[str, ...]]


@dataclass(slots=True)
class _Folder:
    """What is known of the names in a folder: how often it was asked for them, and those it held when it was listed."""

    asked: int = 0
    names: set[str] = field(default_factory=set)


@lru_cache(maxsize=64)
def _folder(path: str) -> _Folder:
    return _Folder()


def names_file(path: str) -> bool:
    """Whether something has this absolute path. A file that was there when its folder was listed may be gone since."""
    folder, _, name = path.rpartition("/")
    known = _folder(folder)
    if name in known.names:
        return True
    known.asked += 1
    if known.asked == _OFTEN and os.path.isdir(folder):
        with os.scandir(folder) as entries:
            known.names.update(entry.name for entry in islice(entries, _LARGE))
    return os.path.lexists(path)


def find_image(folder: str, written: str) -> str:
    """The one file in the absolute `folder` that a path means which names none as it is written; empty if none does.

    Backslashes, a leading slash for the image folder, `%20`, file: URLs, blanks around it, another case, another
    Unicode form and another suffix of an image are understood, each only where a single file fits. Of an image folder
    that holds one folder alone, as archives of a folder do, its path may be left out.
    """
    for root in _roots(folder):
        for name in _spellings(root, written):
            if found := _look_up(root, name):
                return found
    return ""


def similar_names(path: str) -> tuple[str, ...]:
    """Names of files like that of `path`, an absolute path of no file, in its folder; some at most."""
    folder, name = os.path.split(path)
    same, stems = _listing(folder) or ({}, {})
    found = dict.fromkeys((*same.get(_key(name), ()), *stems.get(_stem(name), ())))
    return tuple(found)[:_SHOWN]


def missing_advice(path: str) -> str:
    """What to do about an image that is not there: the file that may be meant, if there is one."""
    if names := similar_names(path):
        return f"There is {' and '.join(names)}: write the name of the file that is meant"
    above = os.path.dirname(os.path.dirname(path))
    name = os.path.basename(path.replace("\\", "/"))
    if name and (os.path.lexists(os.path.join(above, name)) or os.path.lexists(os.path.join(path, os.pardir, name))):
        return f"There is {name} in {above}: write its path inside the image folder"
    return "Check the record's image name, and that the source's images: folder or the uploaded archive has it"


def _roots(folder: str) -> Iterator[str]:
    """The folder, and the one folder that it holds, and so on; what packing programs add beside it does not count."""
    for _ in range(_DEEPEST):
        yield folder
        held = (name for names in _names(folder).values() for name in names if not _is_added(name))
        only = list(islice(held, 2))
        if len(only) != 1 or not os.path.isdir(folder := os.path.join(folder, only[0])):
            return


def _is_added(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _spellings(folder: str, written: str) -> Iterator[str]:
    """Paths relative to the folder that `written` may mean, without those that leave it."""
    text = written.strip()
    if "\0" in text:
        return
    if scheme := _SCHEME.match(text):
        if scheme[0].lower() != "file:":
            return
        text = unquote(urlsplit(text).path)
    slashed = text.replace("\\", "/")
    for name in dict.fromkeys((text, slashed, unquote(slashed))):
        root = folder.rstrip("/") + "/"
        inside = name[len(root) :] if name.startswith(root) else name.lstrip("/")
        path = os.path.normpath(inside) if inside else ""
        if path not in ("", os.curdir) and path.split("/")[0] != os.pardir:
            yield path


def _look_up(folder: str, name: str) -> str:
    """The file of a relative path; empty unless exactly one fits."""
    parents, _, last = name.rpartition("/")
    path = os.path.join(folder, parents) if parents else folder
    listing = _listing(path)
    if listing is None:  # a folder is written otherwise too
        path = folder
        for part in parents.split("/"):
            path = _entry(path, part, _names(path)) if path else ""
        listing = _listing(path) if path else None
    if listing is None:
        return ""
    same, stems = listing
    return _entry(path, last, same) or _only(path, stems.get(_stem(last), ()))


def _entry(folder: str, name: str, same: _Names) -> str:
    """The path of an entry: as it is written, else the only one in another Unicode form, else in another case."""
    names = same.get(_key(name), ())
    if name in names:
        return os.path.join(folder, name)
    composed = tuple(other for other in names if _composed(other) == _composed(name))
    return _only(folder, composed or names)


def _only(folder: str, names: tuple[str, ...]) -> str:
    return os.path.join(folder, names[0]) if len(names) == 1 else ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(name).casefold()


def _stem(name: str) -> str:
    """The key of a name without the suffix of an image."""
    stem, suffix = os.path.splitext(name)
    return _key(stem if suffix.lower() in SUFFIXES else name)


def _names(folder: str) -> _Names:
    listing = _listing(folder)
    return listing[0] if listing else {}


def _listing(folder: str) -> tuple[_Names, _Names] | None:
    """(names of a folder by key, names of its images by key without suffix); cached until the folder changes.

    None where there is no such folder.
    """
    try:
        return _read_listing(folder, os.stat(folder).st_mtime_ns)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _read_listing(folder: str, _changed: int) -> tuple[_Names, _Names]:
    same, stems = dict[str, tuple[str, ...]](), dict[str, tuple[str, ...]]()
    for name in sorted(os.listdir(folder)):
        same[_key(name)] = (*same.get(_key(name), ()), name)
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            stems[_stem(name)] = (*stems.get(_stem(name), ()), name)
    return same, stems
