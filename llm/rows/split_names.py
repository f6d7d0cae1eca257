"""Which split a file, a folder or a list belongs to by its name, as `datasets` and people write it."""

import re
from collections.abc import Iterable
from pathlib import PurePath

_ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
_WORD = re.compile(rf"(?:^|[^a-z])({'|'.join(_CANONICAL)})(?![a-z])")
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")  # how `datasets` names the parts of a split on the hub


def split_of(path: PurePath) -> str:
    """The split that a file belongs to by its own name, else by the nearest of its folders; empty for none.

    `data/train_sft-00000-of-00003.parquet` is of train_sft, `dev.jsonl` and `val/a.json` of validation.
    """
    name = path.name.partition(".")[0] if not path.name.startswith(".") else path.name
    if shard := _SHARD.fullmatch(name):
        return canonical(shard[1])
    for part in (path.stem, *reversed(path.parent.parts)):
        if found := _WORD.search(part.lower()):
            return _CANONICAL[found[1]]
    return ""


def split_of_list(name: str) -> str:
    """The split that a list in a JSON file is by its name, such as `train` or `test_sft`; empty for none."""
    word = re.match(r"[a-z]+", name.lower())
    return canonical(name) if word and word[0] in _CANONICAL else ""


def canonical(name: str) -> str:
    """train, validation or test for a name of one of them; other names as they are."""
    return _CANONICAL.get(name.lower(), name)


def same_split(name: str, wanted: str) -> bool:
    """Whether two names mean one split."""
    return canonical(name) == canonical(wanted)


def missing_split(place: object, names: Iterable[str], wanted: str) -> str:
    """The message for data that has splits, but not the one that is wanted."""
    listed = sorted(set(names))
    return f"{place}: has no split {wanted}. Choose one that is there: split: {' or '.join(listed)}"
