"""The model library: runs and exported models on disk, named, and loaded when first used."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from demo.visible_paths import hide_folders
from llm.chat.chat_model import ChatModel
from llm.config.rebased_paths import CWD
from llm.config.schema import RunConfig
from llm.errors import ConfigError, EyegraftError, RunError
from llm.files.regular_files import exists
from llm.train.checkpoint import find_checkpoint, list_checkpoints
from llm.train.checkpoint_state import weights_digest
from vlm.config import VlmRunConfig
from vlm.model.open_chat_model import open_chat_model
from vlm.model.run_recipe import read_run_config

MAX_OPEN = 2  # models in memory: a comparison needs two
MAX_DEPTH = 3  # levels of folders below the root in which runs are searched


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """The weights of one model: a checkpoint of a run, or a Hugging Face folder (`checkpoint` is empty)."""

    path: Path
    checkpoint: str = ""
    adapters: bool = True
    home: Path = CWD  # the folder that relative paths of the run's recipe start from

    @property
    def source(self) -> "ModelWeights":
        """The weights to load: one model answers with and without its adapters."""
        return replace(self, adapters=True)

    def stamp(self) -> str:
        """Identifies the contents: the digest of a checkpoint, or the modification time of a folder."""
        if self.checkpoint:
            return f"sha256 {weights_digest(find_checkpoint(self.path, self.checkpoint))[:12]}"
        written = datetime.fromtimestamp((self.path / "config.json").stat().st_mtime)
        return f"written {written:%Y-%m-%d %H:%M:%S}"

    def describe(self) -> str:
        """Folder, checkpoint, stamp, and whether the adapters are off."""
        parts = [
            display_path(self.path, self.home),
            self.checkpoint,
            self.stamp(),
            "" if self.adapters else "adapters off",
        ]
        return " · ".join(part for part in parts if part)

    def open(self) -> ChatModel:
        """Load the model, with its adapters if it has any."""
        return open_chat_model(self.path, self.checkpoint or "latest", home=self.home)


class ModelLibrary(Mapping[str, ChatModel]):
    """Models by name. The MAX_OPEN most recently used stay in memory. Thread-safe."""

    def __init__(self, root: Path, named: Sequence[str] = (), home: Path = CWD) -> None:
        """List the folders in `named`, then the models found under `root`. Relative paths start from `home`."""
        self.root, self.home, self._named = home / root, home, named
        self._open: OrderedDict[tuple[ModelWeights, str], ChatModel] = OrderedDict()
        self._opened = threading.Lock()  # held briefly: an open model answers while another is loaded
        self._loading = threading.Lock()
        self.weights: dict[str, ModelWeights] = {}
        self.skipped: dict[str, str] = {}
        self.refresh()

    def refresh(self) -> list[str]:
        """Search the disk again; returns the names of all models. `skipped` has the unreadable folders with reasons."""
        self.weights, self.skipped = find_weights(self.root, self._named, self.home)
        return list(self.weights)

    def __getitem__(self, name: str) -> ChatModel:
        weights = self.weights[name]
        try:
            key = (weights.source, weights.stamp())
        except OSError as error:
            raise RunError(f"{name} no longer exists ({error}). Reload the page") from error
        chat_model = self._cached(key)
        if chat_model is None:
            with self._loading:
                chat_model = self._cached(key) or self._load(key)
        return chat_model if weights.adapters else chat_model.without_adapters()

    def open(self, name: str | None) -> ChatModel:
        """The model of that name. Raises RunError when there is none, or when its folder has been deleted."""
        if name is None or name not in self.weights:
            root = display_path(self.root, self.home)
            raise RunError(f"{name or 'no model'}: not found under {root}. Train one, then reload the page")
        return self[name]

    def visible(self, text: str) -> str:
        """A message for visitors: without the folders above the library's own."""
        return hide_folders(text, self.home, self.root)

    def _cached(self, key: tuple[ModelWeights, str]) -> ChatModel | None:
        with self._opened:
            chat_model = self._open.get(key)
            if chat_model is not None:
                self._open.move_to_end(key)
            return chat_model

    def _load(self, key: tuple[ModelWeights, str]) -> ChatModel:
        with self._opened:
            while len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)  # before the next one is loaded: memory may not hold both
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
    """A readable folder: a run with its recipe, or an exported model (`config` is None)."""

    path: Path
    config: RunConfig | None
    written: float  # modification time in seconds since the epoch

    @property
    def sort_key(self) -> tuple[bool, bool, float]:
        """Vision runs, then text runs, then exports; within each the newest first."""
        is_text = self.config is not None and not isinstance(self.config, VlmRunConfig)
        return self.config is None, is_text, -self.written


def find_weights(root: Path, named: Iterable[str], home: Path = CWD) -> tuple[dict[str, ModelWeights], dict[str, str]]:
    """All models by name, and the folders that cannot be read with the reasons.

    Named folders come first, then runs with their checkpoints, exports, and the base LLMs of the runs.
    Raises ConfigError for a named folder without weights.
    """
    weights: dict[str, ModelWeights] = {}
    runs: list[ModelFolder] = []
    for name in named:
        path = home / name
        if not is_model(path) and not list_checkpoints(path):
            raise ConfigError(f"{name}: neither a run with a checkpoint nor a model folder with config.json")
        runs.append(_read(path, home))
        weights |= _weights_of(runs[-1], name, home)
    found, skipped = read_folders(folders(root), home)
    for folder in sorted(found, key=lambda folder: folder.sort_key):
        weights |= _weights_of(folder, folder.path.relative_to(root).as_posix(), home)
    reasons = {path.relative_to(root).as_posix(): hide_folders(text, home, root) for path, text in skipped.items()}
    return weights | _bases([*runs, *found], home), reasons


def read_folders(paths: Iterable[Path], home: Path) -> tuple[list[ModelFolder], dict[Path, str]]:
    """The readable folders, and the unreadable ones with the reasons.

    Evaluations and pipelines, which have no weights, are in neither.
    """
    found: list[ModelFolder] = []
    skipped: dict[Path, str] = {}
    for path in paths:
        try:
            found.append(_read(path, home))
        except RunError:
            continue
        except (EyegraftError, OSError) as error:
            skipped[path] = str(error)
    return found, skipped


def _read(folder: Path, home: Path) -> ModelFolder:
    config = None if is_model(folder) else read_run_config(folder, home)
    return ModelFolder(folder, config, folder.stat().st_mtime)


def _bases(runs: Iterable[ModelFolder], home: Path) -> dict[str, ModelWeights]:
    """The base LLMs of runs with checkpoints, where they are folders on this machine."""
    named = [Path(run.config.model.llm) for run in runs if run.config and list_checkpoints(run.path)]
    return {f"{display_path(base, home)} (base)": ModelWeights(base, home=home) for base in named if exists(base)}


def display_path(path: Path, home: Path) -> str:
    """The path, relative to `home` if it is inside."""
    return str(path.relative_to(home)) if home != CWD and path.is_relative_to(home) else str(path)


def folders(root: Path) -> list[Path]:
    """The folders of runs and exported models under `root`."""
    patterns = ["/".join(["*"] * depth) for depth in range(1, MAX_DEPTH + 1)]
    inside = [folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir()]
    return [folder for folder in inside if not folder.name.startswith(".") and (is_run(folder) or is_model(folder))]


def is_run(folder: Path) -> bool:
    """Whether training wrote the folder; it may have no checkpoint yet."""
    return (folder / "config.yaml").is_file()


def is_model(folder: Path) -> bool:
    """Whether it is a Hugging Face model folder."""
    return (folder / "config.json").is_file()


def _weights_of(found: ModelFolder, name: str, home: Path) -> dict[str, ModelWeights]:
    """The weights in a folder by name. A run has one entry per checkpoint; the newest has the run's own name."""
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
