"""The splits that the README.md of a Hugging Face data set declares: `configs` with their `data_files`."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import yaml

from llm.errors import DataError
from llm.files.regular_files import SETTINGS, read_text

Files = dict[str, list[Path]]


def card_files(folder: Path) -> Files:
    """Split -> files of the folder's default subset; empty without such a README, or where its files are not here.

    Raises DataError when there are several subsets and none is the default.
    """
    subsets = {name: files for name, files in _subsets(folder) if any(files.values())}
    if len(subsets) < 2:
        return next(iter(subsets.values()), {})
    if "default" in subsets:
        return subsets["default"]
    raise DataError(
        f"{folder}: has the subsets {', '.join(subsets)}. Name the files of one, such as {_example(subsets)}"
    )


def _example(subsets: dict[str, Files]) -> Path:
    """What names one subset alone: a folder that only its files are in, or its first file."""
    first, *others = ([file for files in subset.values() for file in files] for subset in subsets.values())
    parent = first[0].parent
    alone = all(file.parent == parent for file in first) and not any(
        parent in file.parents for subset in others for file in subset
    )
    return parent if alone else first[0]


def _subsets(folder: Path) -> Iterator[tuple[str, Files]]:
    configs = _front_matter(folder / "README.md").get("configs")
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict) and "data_files" in config:
            root = folder / _inside(config.get("data_dir"))
            name = "default" if config.get("default") is True else str(config.get("config_name", "default"))
            yield name, dict(_splits(root, config["data_files"]))


def _splits(root: Path, data_files: object) -> Iterator[tuple[str, list[Path]]]:
    """`data_files` is a pattern, several patterns, or `{split, path}` for each split."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    split_entries = [entry for entry in entries if isinstance(entry, dict)]
    for entry in split_entries:
        paths = entry.get("path")
        yield str(entry.get("split", "train")), _matching(root, paths if isinstance(paths, list) else [paths])
    if not split_entries:
        yield "train", _matching(root, entries)


def _matching(root: Path, patterns: list[object]) -> list[Path]:
    found = {file for pattern in patterns if (inside := _inside(pattern)) for file in root.glob(inside)}
    return sorted(file for file in found if file.is_file())


def _inside(pattern: object) -> str:
    """The pattern if it is relative and does not leave the folder; otherwise empty."""
    if not isinstance(pattern, str) or "://" in pattern:
        return ""
    path = PurePosixPath(pattern)
    return "" if path.is_absolute() or ".." in path.parts else str(path)


def _front_matter(readme: Path) -> dict[str, object]:
    """The YAML between the `---` lines at the start of a README; empty where it is missing or broken."""
    try:
        text = read_text(readme, SETTINGS)
        value = yaml.safe_load(text[3:].partition("\n---")[0]) if text.startswith("---") else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}
