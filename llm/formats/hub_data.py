"""Data files of hubs, by names such as `hf:datasets/org/name/train.jsonl`: fetched, then read like any other file.

Without a file or folder after the name, what a folder with the repository's files would be read as: the files of one
split, by its README or by their names. Only these are fetched.
"""

import difflib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import constants

from llm.config.schema import Source
from llm.errors import DataError
from llm.hub_access import modelscope_ways, other_ways
from llm.hubs.listing import HubFailure, HubUnreachable
from llm.hubs.reference import HubReference, data_reference
from llm.hubs.snapshot import host_of, local_copy
from llm.rows.compressed import suffix_of
from llm.rows.files import SUFFIXES, choose
from llm.rows.folder_files import DESCRIPTIONS

README = "README.md"


def data_path(text: str, base: Path, split: str = "train") -> Path:
    """The file or folder that a recipe or command names: below `base`, or the local copy of what a hub has.

    Raises ConfigError for a hub's prefix before something else, DataError for what a hub does not have or give.
    """
    reference = data_reference(text)
    return base / Path(text).expanduser() if reference is None else _fetched(text, reference, split)


def images_path(text: str, base: Path) -> Path:
    """The folder of images that a recipe names, as `data_path`; of a hub all files in it are fetched."""
    reference = data_reference(text)
    return base / Path(text).expanduser() if reference is None else _fetched(text, reference, "")


def local_source(source: Source) -> Source:
    """The source with the local copies of what it names of hubs, for commands that write files beside or like it."""
    found = {"path": _here(source.path, source.split), "images": _here(source.images, "")}
    return source.model_copy(update={key: path for key, path in found.items() if path})


def local_file(text: str | Path, split: str = "train") -> Path:
    """The file or folder that a command names, on this machine or of a hub; then it is the local copy.

    `split` as of `data_path`, empty for all files.
    """
    return Path(_here(str(text), split) or text)


def _here(text: str, split: str) -> str:
    """The local copy of data of a hub; empty for any other text."""
    reference = data_reference(text)
    return "" if reference is None else str(_fetched(text, reference, split))


def _fetched(text: str, reference: HubReference, split: str) -> Path:
    where = (host_of(reference), constants.HF_HUB_CACHE, os.environ.get("MODELSCOPE_CACHE", ""))
    try:
        folder = _copy(reference, split, where)
    except HubUnreachable as cause:
        name = reference.repository
        ways = other_ways("dataset", name) if reference.hub == "hf" else modelscope_ways("dataset", name)
        raise DataError(f"{text}: could not be fetched from {host_of(reference)}: {cause}. {ways}") from cause
    except HubFailure as cause:
        raise DataError(str(cause)) from cause
    path = folder / reference.inside
    if not path.exists():  # offline, and never fetched
        raise DataError(f"{text}: is not among what is here of it, and {host_of(reference)} cannot be asked now")
    return path


@cache
def _copy(reference: HubReference, split: str, where: tuple[str, ...]) -> Path:
    """The local copy. `split`: empty for all files; `where`: the hub and the caches, for others are asked anew."""
    if reference.inside or not split:
        return local_copy(reference, lambda names: _below(reference, names))
    described = local_copy(reference, lambda names: [name for name in names if _describes(name)])
    return local_copy(reference, lambda names: _of_split(reference, names, described, split))


def _below(reference: HubReference, names: Sequence[str]) -> list[str]:
    """The file or the files of the folder that is named; all without one."""
    inside = reference.inside
    found = [name for name in names if not inside or name == inside or name.startswith(f"{inside}/")]
    if found:
        return found
    near = difflib.get_close_matches(inside, names, n=1)
    advice = f"did you mean {near[0]}?" if near else f"It has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
    raise HubFailure(f"{reference}: the data set has no file or folder {inside}. {advice}")


def _describes(name: str) -> bool:
    return name == README or name.rpartition("/")[2] in DESCRIPTIONS


def _of_split(reference: HubReference, names: Sequence[str], described: Path, split: str) -> list[str]:
    """The data files of a split, chosen in a folder of empty files with these names, so that the same are chosen."""
    wanted = [name for name in names if _describes(name) or suffix_of(Path(name)) in SUFFIXES]
    with TemporaryDirectory(prefix="eyegraft-") as made:
        folder = Path(made).resolve()
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((described / name).read_bytes() if _describes(name) else b"")
        try:
            chosen = choose(folder, split).files
        except DataError as error:
            raise HubFailure(str(error).replace(str(folder), str(reference))) from error
        files = {path.relative_to(folder).as_posix() for path in chosen}
    return [name for name in wanted if name in files or _describes(name)]
