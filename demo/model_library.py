"""Every set of weights that can answer: found on disk, named, opened when first asked."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llm.chat.chat_model import ChatModel
from llm.config.rebased_paths import CWD
from llm.config.schema import RunConfig
from llm.errors import ConfigError, EyegraftError, RunError
from llm.files.regular_files import exists
from llm.train.checkpoint import find_checkpoint, list_checkpoints, weights_digest
from vlm.config import VlmRunConfig
from vlm.model.open_chat_model import open_chat_model
from vlm.model.run_recipe import read_run_config

OPEN = 2  # models in memory: a comparison needs two
DEPTH = 3  # folders under the root in which a run may lie


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """One set of weights on disk: a checkpoint of a run, or a Hugging Face folder (no checkpoint)."""

    path: Path
    checkpoint: str = ""
    adapters: bool = True
    home: Path = CWD  # where relative paths of the run's recipe begin

    @property
    def source(self) -> "ModelWeights":
        """What is loaded for it: with and without adapters are one model."""
        return replace(self, adapters=True)

    def stamp(self) -> str:
        """What changes when other weights are written to the same place: their digest, or a folder's time."""
        if self.checkpoint:
            return f"sha256 {weights_digest(find_checkpoint(self.path, self.checkpoint))[:12]}"
        written = datetime.fromtimestamp((self.path / "config.json").stat().st_mtime)
        return f"written {written:%Y-%m-%d %H:%M:%S}"

    def describe(self) -> str:
        """Which weights exactly: folder, checkpoint, stamp, and whether adapters are left out."""
        parts = [shown(self.path, self.home), self.checkpoint, self.stamp(), "" if self.adapters else "adapters off"]
        return " · ".join(part for part in parts if part)

    def open(self) -> ChatModel:
        """The chat_model of these weights, with the adapters they have."""
        return open_chat_model(self.path, self.checkpoint or "latest", home=self.home)


class ModelLibrary(Mapping[str, ChatModel]):
    """Speakers by the name of their weights. The two asked last stay in memory."""

    def __init__(self, root: Path, named: Sequence[str] = (), home: Path = CWD) -> None:
        """`named` folders come first; the others are those found under `root`. Relative paths begin at `home`."""
        self.root, self.home, self._named = home / root, home, named
        self._open: OrderedDict[tuple[ModelWeights, str], ChatModel] = OrderedDict()
        self._opened = threading.Lock()  # held for a moment, so that an open model answers while another is loaded
        self._loading = threading.Lock()
        self.weights: dict[str, ModelWeights] = {}
        self.skipped: dict[str, str] = {}
        self.refresh()

    def refresh(self) -> list[str]:
        """Look at the disk again; returns the names that are there now. `skipped` says which folders are not."""
        self.weights, self.skipped = find_weights(self.root, self._named, self.home)
        return list(self.weights)

    def __getitem__(self, name: str) -> ChatModel:
        weights = self.weights[name]
        try:
            key = (weights.source, weights.stamp())
        except OSError as error:
            raise RunError(f"{name} is there no longer ({error}). Reload the page") from error
        chat_model = self._known(key)
        if chat_model is None:
            with self._loading:
                chat_model = self._known(key) or self._load(key)
        return chat_model if weights.adapters else chat_model.without_adapters()

    def open(self, name: str | None) -> ChatModel:
        """The chat_model of that name; RunError when it is not there, or no longer."""
        if name is None or name not in self.weights:
            raise RunError(
                f"{name or 'no model'}: not found under {shown(self.root, self.home)}. Train one, then reload the page"
            )
        return self[name]

    def _known(self, key: tuple[ModelWeights, str]) -> ChatModel | None:
        with self._opened:
            chat_model = self._open.get(key)
            if chat_model is not None:
                self._open.move_to_end(key)
            return chat_model

    def _load(self, key: tuple[ModelWeights, str]) -> ChatModel:
        with self._opened:
            while len(self._open) >= OPEN:
                self._open.popitem(last=False)  # before the next is loaded: both may not fit
        chat_model = key[0].open()
        with self._opened:
            self._open[key] = chat_model
        return chat_model

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that can be read: a run with its recipe, or a model folder without one."""

    path: Path
    config: RunConfig | None
    written: float  # when, in seconds since 1970

    @property
    def sort_key(self) -> tuple[bool, bool, float]:
        """Runs with eyes first, most come to show a picture; then text runs, then exports; of each the newest first."""
        is_model, blind = self.config is None, self.config is not None and not isinstance(self.config, VlmRunConfig)
        return is_model, blind, -self.written


def find_weights(root: Path, named: Iterable[str], home: Path = CWD) -> tuple[dict[str, ModelWeights], dict[str, str]]:
    """Names and weights: named folders first, then runs with their checkpoints, newest first, exports, and bases;
    and the names of folders that are skipped, with the reason.

    Raises ConfigError for a named folder that holds no weights.
    """
    weights: dict[str, ModelWeights] = {}
    runs: list[ModelFolder] = []
    for name in named:
        folder = home / name
        if not is_model(folder) and not list_checkpoints(folder):
            raise ConfigError(f"{name}: neither a run with a checkpoint nor a model folder with config.json")
        runs.append(_read(folder, home))
        weights |= _weights_of(runs[-1], name, home)
    found, skipped = sorted_out(folders(root), home)
    for one in sorted(found, key=lambda one: one.sort_key):
        weights |= _weights_of(one, one.path.relative_to(root).as_posix(), home)
    return weights | _bases([*runs, *found], home), {
        folder.relative_to(root).as_posix(): reason for folder, reason in skipped.items()
    }


def sorted_out(inside: Iterable[Path], home: Path) -> tuple[list[ModelFolder], dict[Path, str]]:
    """Folders that can be read, and those that cannot, with the reason: one of them must not hide the others.

    An evaluation or a pipeline, which has no weights, is in neither.
    """
    found: list[ModelFolder] = []
    skipped: dict[Path, str] = {}
    for folder in inside:
        try:
            found.append(_read(folder, home))
        except RunError:
            continue
        except (EyegraftError, OSError) as error:
            skipped[folder] = str(error).replace(f"{home}/", "")
    return found, skipped


def _read(folder: Path, home: Path) -> ModelFolder:
    config = None if is_model(folder) else read_run_config(folder, home)
    return ModelFolder(folder, config, folder.stat().st_mtime)


def _bases(runs: Iterable[ModelFolder], home: Path) -> dict[str, ModelWeights]:
    """The LLM folders below the runs that have checkpoints."""
    named = [Path(run.config.model.llm) for run in runs if run.config and list_checkpoints(run.path)]
    return {f"{shown(base, home)} (base)": ModelWeights(base, home=home) for base in named if exists(base)}


def shown(path: Path, home: Path) -> str:
    """The path relative to `home` where it lies inside: visitors need not see the folders above."""
    return str(path.relative_to(home)) if home != CWD and path.is_relative_to(home) else str(path)


def folders(root: Path) -> list[Path]:
    """Runs and exported models under `root`."""
    patterns = ["/".join(["*"] * depth) for depth in range(1, DEPTH + 1)]
    inside = [folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir()]
    return [folder for folder in inside if not folder.name.startswith(".") and (is_run(folder) or is_model(folder))]


def is_run(folder: Path) -> bool:
    """A folder that training wrote, with checkpoints or not yet."""
    return (folder / "config.yaml").is_file()


def is_model(folder: Path) -> bool:
    """A Hugging Face model folder."""
    return (folder / "config.json").is_file()


def _weights_of(found: ModelFolder, name: str, home: Path) -> dict[str, ModelWeights]:
    """A model folder by its name; of a run every checkpoint, the newest by the run's own name."""
    if found.config is None:
        return {name: ModelWeights(found.path, home=home)}
    steps = [step.name for step in reversed(list_checkpoints(found.path))]
    if not steps:
        return {}
    weights = {name: ModelWeights(found.path, steps[0], home=home)}
    weights |= {f"{name} @ {step}": ModelWeights(found.path, step, home=home) for step in steps[1:]}
    if _has_adapters(found.config):
        weights |= {f"{key}, adapters off": replace(one, adapters=False) for key, one in weights.items()}
    return weights


def _has_adapters(config: RunConfig) -> bool:
    return config.tune.kind in ("lora", "qlora") or config.tune.model_dump().get("tower") == "lora"
