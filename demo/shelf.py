"""Every set of weights that can answer: found on disk, named, opened when first asked."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llm.chat import Speaker
from llm.checkpoint import find_checkpoint, list_checkpoints, weights_digest
from llm.config import RunConfig
from llm.errors import ConfigError, EyegraftError, RunError
from vlm.chat import open_speaker
from vlm.config import VlmRunConfig
from vlm.run import read_run_config

OPEN = 2  # models in memory: a comparison needs two
DEPTH = 3  # folders under the root in which a run may lie


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of weights on disk: a checkpoint of a run, or a Hugging Face folder (no checkpoint)."""

    path: Path
    checkpoint: str = ""
    adapters: bool = True

    @property
    def source(self) -> "Weights":
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
        parts = [str(self.path), self.checkpoint, self.stamp(), "" if self.adapters else "adapters off"]
        return " · ".join(part for part in parts if part)

    def open(self) -> Speaker:
        """The speaker of these weights, with the adapters they have."""
        return open_speaker(self.path, self.checkpoint or "latest")


class Shelf(Mapping[str, Speaker]):
    """Speakers by the name of their weights. The two asked last stay in memory."""

    def __init__(self, root: Path, named: Sequence[str] = ()) -> None:
        """`named` folders come first; the others are those found under `root`."""
        self._root, self._named = root, [Path(folder) for folder in named]
        self._open: OrderedDict[tuple[Weights, str], Speaker] = OrderedDict()
        self._lock = threading.Lock()
        self.weights: dict[str, Weights] = {}
        self.look()

    def look(self) -> list[str]:
        """Look at the disk again; returns the names that are there now."""
        self.weights = find_weights(self._root, self._named)
        return list(self.weights)

    def __getitem__(self, name: str) -> Speaker:
        weights = self.weights[name]
        with self._lock:
            key = (weights.source, weights.stamp())
            speaker = self._open.pop(key, None) or self._load(weights.source)
            self._open[key] = speaker
        return speaker if weights.adapters else speaker.without_adapters()

    def open(self, name: str | None) -> Speaker:
        """The speaker of that name; RunError when it is not there, or no longer."""
        if name is None or name not in self.weights:
            raise RunError(f"{name or 'no model'}: not found under {self._root}. Train one, then reload the page")
        return self[name]

    def _load(self, weights: Weights) -> Speaker:
        while len(self._open) >= OPEN:
            self._open.popitem(last=False)  # before the next is loaded: both may not fit
        return weights.open()

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def find_weights(root: Path, named: Iterable[Path]) -> dict[str, Weights]:
    """Names and weights: named folders first, then runs with their checkpoints, newest first, exports, and bases.

    Raises ConfigError for a named folder that holds no weights.
    """
    found: dict[str, Weights] = {}
    bases: dict[str, Weights] = {}
    for folder in named:
        if not is_model(folder) and not list_checkpoints(folder):
            raise ConfigError(f"{folder}: neither a run with a checkpoint nor a model folder with config.json")
        found |= _of_folder(folder, str(folder))
    for folder in sorted(filter(readable, folders(root)), key=_age):
        found |= _of_folder(folder, folder.relative_to(root).as_posix())
    for weights in list(found.values()):
        if weights.checkpoint and (base := Path(read_run_config(weights.path).model.llm)).is_dir():
            bases[f"{base} (base)"] = Weights(base)
    return found | bases


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


def readable(folder: Path) -> bool:
    """Whether this version reads the run's recipe; an older version may have written it."""
    try:
        return is_model(folder) or bool(read_run_config(folder))
    except EyegraftError:
        return False


def _of_folder(folder: Path, name: str) -> dict[str, Weights]:
    """A model folder by its name; of a run every checkpoint, the newest by the run's own name."""
    if is_model(folder):
        return {name: Weights(folder)}
    steps = [step.name for step in reversed(list_checkpoints(folder))]
    if not steps:
        return {}
    found = {name: Weights(folder, steps[0])} | {f"{name} @ {step}": Weights(folder, step) for step in steps[1:]}
    if _has_adapters(read_run_config(folder)):
        found |= {f"{key}, adapters off": replace(weights, adapters=False) for key, weights in found.items()}
    return found


def _has_adapters(config: RunConfig) -> bool:
    return config.tune.kind in ("lora", "qlora") or config.tune.model_dump().get("tower") == "lora"


def _age(folder: Path) -> tuple[bool, bool, float]:
    """Runs with eyes first, most come to show a picture; then text runs, then exports; of each the newest first."""
    blind = not is_model(folder) and not isinstance(read_run_config(folder), VlmRunConfig)
    return is_model(folder), blind, -folder.stat().st_mtime
