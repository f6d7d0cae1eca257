"""The files of one checkpoint: tensors as safetensors, the rest as JSON, and a manifest with the sha256 of each.

`trainable.safetensors` holds the weights, `state-*.safetensors` and `state.json` everything else the next step depends
on, `progress.json` how far the run is. No pickle.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from errno import ENOSPC
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm.errors import CheckpointError
from llm.files.regular_files import SETTINGS, TEXT, check_regular, open_regular, read_text
from llm.files.saved_checkpoints import ADVICE, MANIFEST, read_manifest, step_of

MARGIN = 16 * 2**20  # bytes for headers, progress and rounding up to blocks
STATE = TEXT  # most bytes of state.json, which names every tensor of the optimizer
SHARD = 256 * 2**20  # bytes of a state file: safetensors copies what it writes, and a copy of all may not fit in memory


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The steps since the last line of metrics: a resumed run writes the next line over them, too.

    Attributes:
        losses: Of each step; `norms`: the gradient norms.
        tokens: Of all of them.
        seconds: Of computing; `waited`: without a batch; `wall`: of both and all else.
        sums: Of the run's other figures, over all of them.
    """

    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    tokens: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    wall: float = 0.0
    sums: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Optimizer steps done.
        tokens: Tokens seen.
        seconds: Seconds trained.
        metrics: Bytes of metrics.jsonl written.
        finished: Whether this is the end of the run.
        best_step: Step of the best measurement of `train.keep_best`; 0 before the first.
        best: That measurement.
        waited: Measurements since then.
        window: The steps that no line of metrics has yet.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    metrics: int = 0
    finished: bool = False
    best_step: int = 0
    best: float | None = None
    waited: int = 0
    window: OpenWindow = OpenWindow()

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Progress":
        """The progress of `asdict`, after it was JSON; earlier versions wrote no window."""
        window = OpenWindow(**values.get("window", {}))
        window = replace(window, losses=tuple(window.losses), norms=tuple(window.norms), sums=tuple(window.sums))
        return cls(**{**values, "window": window})

    def measured(self, value: float, larger_is_better: bool) -> "Progress":
        """The progress after a measurement at this step; an equal one is no improvement."""
        best = self.best
        if best is None or (value > best if larger_is_better else value < best):
            return replace(self, best_step=self.step, best=value, waited=0)
        return replace(self, waited=self.waited + 1)


# Writing --------------------------------------------------------------------------------------------------------------


def write_files(folder: Path, progress: Progress, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write and sync every file of a checkpoint into an empty folder, the manifest last.

    `state` is any nesting of dicts and lists over tensors and JSON values. Raises OSError or SafetensorError when the
    disk refuses; where it has too little room for the tensors, before the first byte is written.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _split(state, "", tensors)
    _require_room(folder, [*weights.values(), *tensors.values()])
    save_file({name: _on_host(tensor) for name, tensor in weights.items()}, folder / "trainable.safetensors")
    for number, shard in enumerate(_shards(tensors)):
        save_file(shard, folder / f"state-{number:03d}.safetensors")
    _write_json(folder / "state.json", skeleton)
    _write_json(folder / "progress.json", asdict(progress))
    _write_json(folder / MANIFEST, {file.name: _digest(file) for file in sorted(folder.iterdir())})
    for file in folder.iterdir():
        sync(file)
    sync(folder)


def sync(path: Path) -> None:
    """Have the disk write a file, or a folder's entries, before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_room(folder: Path, tensors: list[Tensor]) -> None:
    need, free = sum(tensor.nbytes for tensor in tensors) + MARGIN, shutil.disk_usage(folder).free
    if need > free:
        raise OSError(ENOSPC, f"it takes {need / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free", str(folder))


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _split(value: object, path: str, tensors: dict[str, Tensor]) -> object:
    """A JSON skeleton of `value`; its tensors move to `tensors` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = _on_host(value)
        return {"$tensor": path}
    if isinstance(value, dict):
        return {"$dict": [[key, _split(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _shards(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Consecutive tensors of at most SHARD bytes together, a larger one by itself; views of one storage are copied."""
    shard: dict[str, Tensor] = {}
    size, seen = 0, set[int]()
    for name, tensor in tensors.items():
        if shard and size + tensor.nbytes > SHARD:
            yield shard
            shard, size = {}, 0
        storage = tensor.untyped_storage().data_ptr()
        shard[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
        size += tensor.nbytes
    yield shard


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


# Reading --------------------------------------------------------------------------------------------------------------


def read_progress(checkpoint: Path) -> Progress:
    """How far the run was, after checking every file against the manifest. Raises CheckpointError."""
    verify(checkpoint)
    progress = Progress.parse(json.loads(read_text(checkpoint / "progress.json", SETTINGS)))
    if progress.step != step_of(checkpoint):
        raise CheckpointError(f"{checkpoint}: holds step {progress.step}; the folder was renamed. {ADVICE}")
    return progress


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The trained tensors by name. Raises CheckpointError where they cannot be read any more."""
    return _read_tensors(checkpoint / "trainable.safetensors")


def verified_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The same after checking their file against the manifest. Raises CheckpointError."""
    file = checkpoint / "trainable.safetensors"
    _compare(file, read_manifest(checkpoint)[file.name])
    return read_weights(checkpoint)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The `state` of `write_files`. Raises CheckpointError where it cannot be read any more."""
    tensors: dict[str, Tensor] = {}
    for shard in sorted(checkpoint.glob("state-*.safetensors")):
        tensors |= _read_tensors(shard)
    file = checkpoint / "state.json"
    try:
        skeleton = json.loads(read_text(file, STATE))
        return {key: _join(item, tensors) for key, item in skeleton["$dict"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error


def _join(value: object, tensors: dict[str, Tensor]) -> object:
    """The opposite of `_split`."""
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        return {key: _join(item, tensors) for key, item in value["$dict"]}
    return value


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        check_regular(file)
        return load_file(file)
    except (OSError, SafetensorError) as error:  # as a rule deleted since it was checked
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy tensors into a model's parameters and buffers by name. Raises CheckpointError for another name or shape."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise CheckpointError(
                f"weight {name} {tuple(tensor.shape)} has no place in this model. Was the recipe's model changed?"
            )
        with torch.no_grad():
            own[name].copy_(tensor)


# Manifest -------------------------------------------------------------------------------------------------------------


def verify(checkpoint: Path) -> None:
    """Raise CheckpointError naming the first file that is missing, unlisted or differs from the manifest."""
    manifest = read_manifest(checkpoint)
    for name, expected in manifest.items():
        _compare(checkpoint / name, expected)
    for file in checkpoint.iterdir():
        if file.name not in manifest and file.name != MANIFEST:
            raise CheckpointError(f"{file}: is no part of the checkpoint, {MANIFEST} does not name it. {ADVICE}")


def _compare(file: Path, expected: dict[str, int | str]) -> None:
    try:
        same = file.is_file() and _digest(file) == expected
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error
    if not same:
        raise CheckpointError(f"{file}: missing or changed since it was written. {ADVICE}")


def _digest(file: Path) -> dict[str, int | str]:
    with open_regular(file) as stream:
        return {"size": os.fstat(stream.fileno()).st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
