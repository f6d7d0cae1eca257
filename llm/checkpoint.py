"""Checkpoints: written under a temporary name, synced, listed in a manifest with sha256, then renamed.

A folder named `step-000500` is therefore always whole; safetensors and JSON only, never pickle.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm.errors import CheckpointError, RunError

MANIFEST = "manifest.json"
SPARE = 16 * 2**20  # bytes for headers, progress and rounding up to blocks
SHARD = 256 * 2**20  # bytes a file of state: safetensors copies what it writes, and a copy of all of it would not fit


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: optimizer steps done, tokens seen, seconds trained, bytes of metrics.jsonl written."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    metrics: int = 0
    finished: bool = False


def save(run: Path, progress: Progress, weights: dict[str, Tensor], state: dict[str, Any], keep: int) -> Path:
    """Write `checkpoints/step-N` and prune all but the `keep` newest.

    `state` is any nesting of dicts and lists over tensors and JSON values. Raises RunError when the disk refuses.
    """
    final = run / "checkpoints" / f"step-{progress.step:06d}"
    partial = final.with_name(f".{final.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors: dict[str, Tensor] = {}
        skeleton = _split(state, "", tensors)
        _room_for(partial, [*weights.values(), *tensors.values()])
        save_file({name: _plain(tensor) for name, tensor in weights.items()}, partial / "trainable.safetensors")
        for number, shard in enumerate(_shards(tensors)):
            save_file(shard, partial / f"state-{number:03d}.safetensors")
        _write_json(partial / "state.json", skeleton)
        _write_json(partial / "progress.json", asdict(progress))
        _write_json(partial / MANIFEST, {file.name: _digest(file) for file in sorted(partial.iterdir())})
        for file in partial.iterdir():
            _sync(file)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync(final.parent)
    except (OSError, SafetensorError) as error:  # safetensors does not say OSError when the disk is full
        raise RunError(
            f"{final}: the checkpoint could not be written: {error}. Free space or check the rights"
        ) from error
    for old in list_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def _room_for(folder: Path, tensors: list[Tensor]) -> None:
    """Raise OSError before a byte is written to a disk that has no room for all of them."""
    need, free = sum(tensor.nbytes for tensor in tensors) + SPARE, shutil.disk_usage(folder).free
    if need > free:
        raise OSError(ENOSPC, f"it takes {need / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free", str(folder))


def list_checkpoints(run: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted((run / "checkpoints").glob("step-[0-9]*"))


def find_checkpoint(run: Path, name: str = "latest") -> Path:
    """The folder of `latest`, `step-000500` or `500`. Raises CheckpointError naming those that exist."""
    found = list_checkpoints(run)
    if name == "latest" and found:
        return found[-1]
    wanted = f"step-{int(name):06d}" if name.isdigit() else name
    for folder in found:
        if folder.name == wanted:
            return folder
    have = ", ".join(folder.name for folder in found) or "none"
    raise CheckpointError(f"{run}: no checkpoint {name!r}; there are: {have}")


def newest_whole(run: Path) -> tuple[Path, Progress] | None:
    """The newest checkpoint whose files are as they were written, and how far it is; None where a run never saved.

    Damaged ones behind it are named and set aside under another name. Raises CheckpointError when none is whole: a
    run never begins anew on its own.
    """
    found = list_checkpoints(run)
    damaged: list[tuple[Path, str]] = []
    for checkpoint in reversed(found):
        try:
            progress = read_progress(checkpoint)
        except CheckpointError as error:
            damaged.append((checkpoint, str(error)))
            continue
        for folder, told in damaged:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            print(f"{told}\n  set aside as {aside.name}; going on from {checkpoint.name}")
        return checkpoint, progress
    if found:
        reasons = "\n  ".join(told for _, told in damaged)
        raise CheckpointError(f"{run}: no checkpoint is whole:\n  {reasons}\nDelete {run} to begin anew")
    return None


def read_progress(checkpoint: Path) -> Progress:
    """How far the run was, after checking every file against the manifest."""
    verify(checkpoint)
    return Progress(**json.loads((checkpoint / "progress.json").read_text()))


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The trained tensors by name."""
    return load_file(checkpoint / "trainable.safetensors")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What was given to `save` as `state`."""
    tensors: dict[str, Tensor] = {}
    for shard in sorted(checkpoint.glob("state-*.safetensors")):
        tensors |= load_file(shard)
    state: dict[str, Any] = _join(json.loads((checkpoint / "state.json").read_text()), tensors)
    return state


def verify(checkpoint: Path) -> None:
    """Raise CheckpointError naming the first file that is missing or differs from the manifest."""
    advice = "Choose another checkpoint; training again sets this one aside"
    manifest = checkpoint / MANIFEST
    if not manifest.exists():
        raise CheckpointError(f"{checkpoint}: {MANIFEST} is missing; the checkpoint is torn. {advice}")
    try:
        listed: dict[str, dict[str, int | str]] = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{manifest}: changed since it was written. {advice}") from error
    if not {"trainable.safetensors", "progress.json", "state.json"} <= listed.keys():
        raise CheckpointError(f"{manifest}: changed since it was written, it names too few files. {advice}")
    for name, expected in listed.items():
        file = checkpoint / name
        if not file.is_file() or _digest(file) != expected:
            raise CheckpointError(f"{file}: missing or changed since it was written. {advice}")


def weights_digest(checkpoint: Path) -> str:
    """The sha256 of the trained tensors' file, as the manifest has it."""
    manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    return str(manifest["trainable.safetensors"]["sha256"])


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy trained tensors into a model by name. Raises CheckpointError when a name or a shape does not fit."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise CheckpointError(
                f"weight {name} {tuple(tensor.shape)} has no place in this model. Was the recipe's model changed?"
            )
        with torch.no_grad():
            own[name].copy_(tensor)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A JSON skeleton of `value`; its tensors move to `tensors` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = _plain(value)
        return {"$tensor": path}
    if isinstance(value, dict):
        return {"$dict": [[key, _split(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        return {key: _join(item, tensors) for key, item in value["$dict"]}
    return value


def _shards(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Runs of tensors of at most SHARD bytes; a larger tensor stands alone. Shared storage is copied apart."""
    shard: dict[str, Tensor] = {}
    size, seen = 0, set[int]()
    for name, tensor in tensors.items():
        if shard and size + tensor.nbytes > SHARD:
            yield shard
            shard, size = {}, 0
        storage = tensor.untyped_storage()
        own = storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        shard[name] = tensor if own else tensor.clone()
        size += tensor.nbytes
    yield shard


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _digest(file: Path) -> dict[str, int | str]:
    with file.open("rb") as stream:
        return {"size": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
