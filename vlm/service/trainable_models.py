"""The models that jobs may start from: folders below the ones that the service was given, downloads, listed hub ids."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.errors import ConfigError

DEEPEST = 3  # folders below a given one that are searched


@dataclass(frozen=True, slots=True)
class TrainableModels:
    """Model folders and run folders by name, and the hub ids that are allowed.

    A request names one of them, never a path. `downloaded`: the folders of what was downloaded so far.
    """

    given: Mapping[str, Path]
    hub_ids: frozenset[str]
    downloaded: Callable[[], Mapping[str, Path]] = dict

    @property
    def folders(self) -> dict[str, Path]:
        """The folders as they are now; one that was given comes before a download of its name."""
        return {**self.downloaded(), **self.given}

    @property
    def names(self) -> frozenset[str]:
        """Every name that a request may give."""
        return frozenset(self.folders) | self.hub_ids

    @property
    def environment(self) -> dict[str, str]:
        """What trainers get: they ask no hub, unless the operator has listed ids of one."""
        return {} if self.hub_ids else {"HF_HUB_OFFLINE": "1"}

    def path(self, name: str) -> str:
        """The folder or hub id of a name. Raises ConfigError for any other."""
        folders = self.folders
        if name in folders:
            return str(folders[name])
        if name in self.hub_ids:
            return name
        kind, found, inner = name.partition(":")
        if found and kind in ("open_clip", "timm") and inner in self.names:
            return f"{kind}:{self.path(inner)}"
        raise ConfigError(f"{name[:80]!r} is none of the service's models: {', '.join(sorted(self.names)) or 'none'}")

    def is_run(self, name: str) -> bool:
        """Whether it is a run folder, which training starts `from`."""
        folder = self.folders.get(name)
        return folder is not None and (folder / "config.yaml").is_file()


def find_models(roots: Sequence[Path], hub_ids: Sequence[str]) -> TrainableModels:
    """Models and runs in the given folders, which may be one themselves. Raises ConfigError for one without any."""
    folders: dict[str, Path] = {}
    for root in roots:
        found = {_name(root, folder): folder.resolve() for folder in _search(root, DEEPEST)}
        if not found:
            raise ConfigError(f"--models {root}: no model and no run is there. Name a folder that holds some")
        folders = {**found, **folders}
    return TrainableModels(folders, frozenset(hub_ids))


def _search(folder: Path, depth: int) -> list[Path]:
    if (folder / "config.json").is_file() or (folder / "config.yaml").is_file():
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    return [found for inner in sorted(folder.iterdir()) if inner.is_dir() for found in _search(inner, depth - 1)]


def _name(root: Path, folder: Path) -> str:
    return folder.name if folder == root else str(folder.relative_to(root))
