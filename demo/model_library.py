"""The model library: runs and exported models on disk, named, and loaded when first used."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from demo.open_models import OpenModels
from demo.visible_paths import hide_folders
from llm.config.rebased_paths import CWD
from llm.config.schema import RunConfig
from llm.errors import ConfigError, EyegraftError, RunError
from llm.files.regular_files import exists
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints, weights_digest
from llm.files.untrusted_json import read_object
from llm.model.model_folder import ADAPTER_FILE
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.model.adapter_folder import ADAPTER, find_adapter
from vlm.model.run_recipe import read_run_config
from vlm.scores.model_boxes import ModelBoxes, boxes_of_folder, boxes_of_run

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel
    from vlm.model.memory_need import MemoryNeed
    from vlm.model.shared_tensors import OnModel

MAX_DEPTH = 3  # levels of folders below the root in which runs are searched


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """The weights of one model: a run's checkpoint, or a Hugging Face or adapter's folder (`checkpoint` is empty)."""

    path: Path
    checkpoint: str = ""
    adapters: bool = True
    home: Path = CWD  # the folder that relative paths of the run's recipe start from
    sees_images: bool = False  # by its recipe or config.json: nothing is loaded for it
    origins: tuple[Path, ...] = ()  # what a run was trained from: the run named by `from`, then the LLM
    adapter: str = ""  # the folder of an adapter for a Hugging Face folder
    bits: int = 0  # 4 or 8 quantises the weights

    @property
    def source(self) -> "ModelWeights":
        """The weights to load: one model answers with and without its adapters."""
        return replace(self, adapters=True)

    def stamp(self) -> str:
        """Identifies the contents: the digest of a checkpoint, or the modification time of a folder."""
        if self.checkpoint:
            return f"sha256 {weights_digest(find_checkpoint(self.path, self.checkpoint))[:12]}"
        written = datetime.fromtimestamp(_config_of(self.path).stat().st_mtime)
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

    def need(self, together: int, new_tokens: int) -> "MemoryNeed":
        """What it takes in memory, for so many answers at once of so many tokens."""
        from vlm.model.memory_need import memory_need

        return memory_need(self.path, together, new_tokens, self.adapter, self.bits, self.home)

    def open(self, complete: "OnModel") -> "ChatModel":
        """Load the model, with its adapters if it has any; `complete` as for `open_chat_model`."""
        from vlm.model.open_chat_model import open_chat_model  # imports torch: a server lists models without it

        checkpoint = self.checkpoint or "latest"
        return open_chat_model(self.path, checkpoint, self.adapter, self.bits, self.home, complete).remembering()


class ModelLibrary(Mapping[str, "ChatModel"]):
    """Models by name, opened when they are first used."""

    def __init__(
        self, root: Path, named: Sequence[str] = (), home: Path = CWD, opened: OpenModels | None = None
    ) -> None:
        """List the folders in `named`, then the models found under `root`. Relative paths start from `home`.

        `opened`: the models in memory, when they are shared with another library.
        """
        self.root, self.home, self._named = home / root, home, named
        self._opened = opened or OpenModels()
        self.weights: dict[str, ModelWeights] = {}
        self.skipped: dict[str, str] = {}
        self.refresh()

    def refresh(self) -> list[str]:
        """Search the disk again; returns the names of all models. `skipped` has the unreadable folders with reasons."""
        self.weights, self.skipped = find_weights(self.root, self._named, self.home)
        return list(self.weights)

    def __getitem__(self, name: str) -> "ChatModel":
        weights = self.weights[name]
        try:
            return self._opened.get(weights)
        except OSError as error:
            raise RunError(f"{name} no longer exists ({error}). Reload the page") from error

    def open(self, name: str | None) -> "ChatModel":
        """The model of that name. Raises RunError when there is none, or when its folder has been deleted."""
        if name is None or name not in self.weights:
            root = display_path(self.root, self.home)
            raise RunError(f"{name or 'no model'}: not found under {root}. Train one, then reload the page")
        return self[name]

    def boxes(self, name: str | None) -> ModelBoxes:
        """How the model of that name writes boxes, by its recipe or its folder; nothing is loaded for it."""
        weights = self.weights.get(name or "")
        if weights is None:
            return ModelBoxes()
        try:
            if weights.checkpoint:
                return boxes_of_run(read_run_config(weights.path, weights.home))
            adapter = None if is_model(weights.path) else find_adapter(weights.path)
            return boxes_of_folder(adapter.base() if adapter else weights.path)
        except EyegraftError:  # the folder has changed since it was listed
            return ModelBoxes()

    def comparison(self) -> tuple[str | None, str | None]:
        """(base, tuned): the first run that has a base among the models, and that base; else the first two models."""
        for name, weights in self.weights.items():
            base = self.base_of(name) if weights.adapters else None
            if base:
                return base, name
        first, second = [*self.weights, None, None][:2]
        return first, second or first

    def base_of(self, name: str) -> str | None:
        """The model that a run is compared with: it with the adapters off, the run that it started from, or the LLM.

        None where none of these is among the models.
        """
        weights = self.weights[name]
        newest = {one.path: found for found, one in reversed(self.weights.items()) if one.adapters}
        own = newest.get(weights.path, "")
        bases = [off_name(name), off_name(own), *(newest.get(origin, "") for origin in weights.origins)]
        return next((base for base in bases if base in self.weights and base != name), None)

    def visible(self, text: str) -> str:
        """A message for visitors: without the folders above the library's own."""
        return hide_folders(text, self.home, self.root)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A readable folder: a run with its recipe, or an exported model or adapter (`config` is None)."""

    path: Path
    config: RunConfig | None
    written: float  # modification time in seconds since the epoch

    @property
    def sort_key(self) -> tuple[bool, bool, float]:
        """Vision runs, then text runs, then exports; within each the newest first."""
        is_text = self.config is not None and not isinstance(self.config, VlmRunConfig | ReadyRunConfig)
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
        if not is_model(path) and not is_adapter(path) and not list_checkpoints(path):
            raise ConfigError(
                f"{name}: neither a run with a checkpoint nor a model folder with config.json or adapter_config.json"
            )
        runs.append(read_model_folder(path, home))
        weights |= weights_of(runs[-1], name, home)
    found, skipped = read_folders(folders(root), home)
    for folder in sorted(found, key=lambda folder: folder.sort_key):
        weights |= weights_of(folder, folder.path.relative_to(root).as_posix(), home)
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
            found.append(read_model_folder(path, home))
        except RunError:
            continue
        except (EyegraftError, OSError) as error:
            skipped[path] = str(error)
    return found, skipped


def read_model_folder(folder: Path, home: Path) -> ModelFolder:
    """What a folder holds; relative paths of a run's recipe start from `home`. Raises RunError, ConfigError."""
    config = None if is_model(folder) or is_adapter(folder) else read_run_config(folder, home)
    return ModelFolder(folder, config, folder.stat().st_mtime)


def _bases(runs: Iterable[ModelFolder], home: Path) -> dict[str, ModelWeights]:
    """The base LLMs of runs with checkpoints, where they are folders on this machine."""
    named = [Path(run.config.model.llm) for run in runs if run.config and list_checkpoints(run.path)]
    return {f"{display_path(base, home)} (base)": _exported(base, home) for base in named if exists(base)}


def _exported(folder: Path, home: Path) -> ModelWeights:
    """The weights of a Hugging Face folder or of an adapter. A vision model names its tower in its config.json."""
    try:
        adapter = None if is_model(folder) else find_adapter(folder)
        base = adapter.base() if adapter else folder
        sees_images = "vision_config" in read_object(base / "config.json")
    except EyegraftError:  # reported when the model is opened
        sees_images = False
    return ModelWeights(folder, home=home, sees_images=sees_images)


def display_path(path: Path, home: Path) -> str:
    """The path, relative to `home` if it is inside."""
    return str(path.relative_to(home)) if home != CWD and path.is_relative_to(home) else str(path)


def folders(root: Path) -> list[Path]:
    """The folders of runs, exported models and adapters under `root`, without those that are parts of another."""
    patterns = ["/".join(["*"] * depth) for depth in range(1, MAX_DEPTH + 1)]
    inside = [folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir()]
    return [folder for folder in inside if not folder.name.startswith(".") and _is_listed(folder, root)]


def _is_listed(folder: Path, root: Path) -> bool:
    if is_run(folder) or is_model(folder):
        return not _is_beside_an_adapter(folder)
    above = [folder.parents[depth] for depth in range(len(folder.relative_to(root).parts) - 1)]
    return is_adapter(folder) and not any(map(is_run, above)) and not _is_beside_an_adapter(folder)


def _is_beside_an_adapter(folder: Path) -> bool:
    """Whether it is a part of what our export wrote: an adapter and its base."""
    return (folder.parent / ADAPTER / ADAPTER_FILE).is_file()


def is_run(folder: Path) -> bool:
    """Whether training wrote the folder; it may have no checkpoint yet."""
    return (folder / "config.yaml").is_file()


def is_model(folder: Path) -> bool:
    """Whether it is a Hugging Face model folder."""
    return (folder / "config.json").is_file()


def is_adapter(folder: Path) -> bool:
    """Whether peft wrote an adapter into it, or our export one and its base beside each other."""
    return any((folder / inner / ADAPTER_FILE).is_file() for inner in ("", ADAPTER)) and not is_run(folder)


def _config_of(folder: Path) -> Path:
    """The file that a model or adapter folder is known by."""
    names = ("config.json", ADAPTER_FILE, f"{ADAPTER}/{ADAPTER_FILE}")
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def weights_of(found: ModelFolder, name: str, home: Path) -> dict[str, ModelWeights]:
    """The weights in a folder by name. A run has one entry per checkpoint; the newest has the run's own name."""
    if found.config is None:
        return {name: _exported(found.path, home)}
    steps = [step.name for step in reversed(list_checkpoints(found.path))]
    if not steps:
        return {}
    origins = tuple(Path(origin) for origin in (found.config.start, found.config.model.llm) if origin)
    sees = isinstance(found.config, VlmRunConfig | ReadyRunConfig)
    newest = ModelWeights(
        found.path,
        steps[0],
        home=home,
        sees_images=sees,
        origins=origins,
    )
    weights = {name: newest} | {f"{name} @ {step}": replace(newest, checkpoint=step) for step in steps[1:]}
    if _has_adapters(found.config):
        weights |= {off_name(key): replace(one, adapters=False) for key, one in weights.items()}
    return weights


def off_name(name: str) -> str:
    """The name of a run with its adapters off."""
    return f"{name}, adapters off"


def _has_adapters(config: RunConfig) -> bool:
    return config.tune.kind in ("lora", "qlora") or config.tune.model_dump().get("tower") == "lora"
