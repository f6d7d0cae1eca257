"""Checkpoints: written under a temporary name, synced, listed in a manifest with sha256, renamed, named in `latest`.

A folder named `step-000500` is therefore whole unless something damaged it later; safetensors and JSON only, never
pickle. `checkpoints/latest` holds the newest one's name for people and for tools that copy runs. It is moved last, so
it may lag behind a folder that is whole already, and it is never believed over the folders' manifests: readers take the
newest folder, resume the newest whole one. What it does prove is that something was once saved.
"""

import hashlib
import json
import os
import re
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
from llm.files.atomic_files import write_atomically
from llm.files.owned_files import make_owned_folder
from llm.files.regular_files import SETTINGS, TEXT, check_regular, open_regular, read_text
from llm.log import logger

MANIFEST = "manifest.json"
LATEST = "latest"
NAME = re.compile(r"step-(\d{6,})")
ADVICE = "Choose another checkpoint; training again sets this one aside"
LEAST = 2  # whole checkpoints that stay, whatever `keep` says: one may turn out to be damaged
SPARE = 16 * 2**20  # bytes for headers, progress and rounding up to blocks
STATE = TEXT  # bytes of state.json: it names every tensor of the optimizer
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
    """Write `checkpoints/step-N`, then move `latest` to it and prune all but the `keep` newest whole ones.

    `state` is any nesting of dicts and lists over tensors and JSON values. Raises RunError when the disk refuses: no
    folder of that name is left then, and the checkpoints before it are as they were.
    """
    folder = run / "checkpoints"
    final = folder / f"step-{progress.step:06d}"
    partial = _hidden(final)
    try:
        run.mkdir(parents=True, exist_ok=True)
        make_owned_folder(folder)
        for left in folder.glob(".step-*.partial"):  # of a save or a prune that was killed
            shutil.rmtree(left)
        partial.mkdir()
        _fill(partial, progress, weights, state)
        _publish(partial, final)
        _point(folder, final.name)
    except (OSError, SafetensorError) as error:  # safetensors does not say OSError when the disk is full
        shutil.rmtree(partial, ignore_errors=True)  # what room it took is the run's again
        raise RunError(
            f"{final}: the checkpoint could not be written: {error}. Free space or check the rights, then run the same "
            "command to go on from the checkpoint before"
        ) from error
    _prune(run, final, max(keep, LEAST))
    return final


def _hidden(checkpoint: Path) -> Path:
    """The name under which a checkpoint is written and deleted: never taken for one."""
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def _fill(partial: Path, progress: Progress, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write and sync every file of a checkpoint, the manifest last."""
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
    _sync(partial)


def _publish(partial: Path, final: Path) -> None:
    """Give a written folder its name, and make the name last through a power cut."""
    if final.exists():  # a run was taken back by hand; a killed rmtree must not leave half of it under this name
        old = final.with_name(f".{final.name}.old.partial")
        final.rename(old)
        shutil.rmtree(old)
    partial.rename(final)
    for parent in (final.parent, final.parent.parent):  # `checkpoints` itself may be new
        _sync(parent)


def _point(folder: Path, name: str) -> None:
    """Move `latest`."""
    write_atomically(folder / LATEST, f"{name}\n")
    _sync(folder)


def _prune(run: Path, newest: Path, keep: int) -> None:
    """Delete what is older than the `keep` newest whole checkpoints; damaged ones do not count.

    Each is hashed again, `newest` aside: what a day ago was whole may not be the copy to fall back on.
    """
    whole = 0
    for checkpoint in reversed(list_checkpoints(run)):
        if whole == keep:
            _delete(checkpoint)
        elif checkpoint == newest or _is_whole(checkpoint):
            whole += 1


def _is_whole(checkpoint: Path) -> bool:
    try:
        read_progress(checkpoint)
    except CheckpointError as error:
        logger.warning(f"{error}\n  it does not count among the checkpoints that are kept")
        return False
    return True


def _delete(checkpoint: Path) -> None:
    """Delete under another name, so that a kill leaves no torn checkpoint. What refuses to go does not stop a run."""
    try:
        checkpoint.rename(_hidden(checkpoint))
        shutil.rmtree(_hidden(checkpoint))
    except OSError as error:
        logger.warning(f"{checkpoint}: an old checkpoint could not be deleted, {error}")


def _room_for(folder: Path, tensors: list[Tensor]) -> None:
    """Raise OSError before a byte is written to a disk that has no room for all of them."""
    need, free = sum(tensor.nbytes for tensor in tensors) + SPARE, shutil.disk_usage(folder).free
    if need > free:
        raise OSError(ENOSPC, f"it takes {need / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are free", str(folder))


def list_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run by their names, oldest first."""
    return sorted((path for path in (run / "checkpoints").glob("step-*") if NAME.fullmatch(path.name)), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def find_checkpoint(run: Path, name: str = "latest") -> Path:
    """The folder of `latest` (the newest), `step-000500` or `500`. Raises CheckpointError naming those that exist."""
    found = list_checkpoints(run)
    if name == "latest" and found:
        return found[-1]
    wanted = f"step-{int(name):06d}" if name.isdigit() else name
    for folder in found:
        if folder.name == wanted:
            return folder
    have = ", ".join(folder.name for folder in found) or "none"
    raise CheckpointError(f"{run}: no checkpoint {name!r}; there are: {have}")


def newest_intact(run: Path) -> tuple[Path, Progress] | None:
    """The newest checkpoint whose files are as they were written, and how far it is; None where a run never saved.

    Damaged ones behind it are named and set aside under another name. Raises CheckpointError when there were some and
    none is whole: a run never begins anew on its own.
    """
    damaged: list[tuple[Path, str]] = []
    for checkpoint in reversed(list_checkpoints(run)):
        try:
            progress = read_progress(checkpoint)
        except CheckpointError as error:
            damaged.append((checkpoint, str(error)))
            continue
        _set_aside(damaged, checkpoint)
        return checkpoint, progress
    if damaged:
        reasons = "\n  ".join(told for _, told in damaged)
        raise CheckpointError(f"{run}: no checkpoint is whole:\n  {reasons}\nDelete {run} to begin anew")
    _refuse_lost(run)
    return None


def _set_aside(damaged: list[tuple[Path, str]], whole: Path) -> None:
    """Rename damaged folders, and tell; `latest` goes back with them, or forward to a folder whose save was killed."""
    named = _latest(whole.parent)
    if named and not (whole.parent / named).exists():
        logger.warning(f"{whole.parent / LATEST} names {named}, which is gone; going on from {whole.name}")
    try:
        for folder, told in damaged:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            logger.warning(f"{told}\n  set aside as {aside.name}; going on from {whole.name}")
        if named != whole.name:
            _point(whole.parent, whole.name)
    except OSError as error:
        raise RunError(f"{whole.parent}: cannot be written: {error}. Check the rights and the free space") from error


def _refuse_lost(run: Path) -> None:
    """Raise CheckpointError where checkpoints once stood; say so where a run was cut off before its first one."""
    folder = run / "checkpoints"
    aside = ", ".join(sorted(path.name for path in folder.glob("damaged-step-*")))
    if aside or (folder / LATEST).exists():
        found = f"only {aside}" if aside else f"none of the checkpoints, though {LATEST} names {_latest(folder)!r}"
        raise CheckpointError(f"{folder}: found {found}. Bring one back, or delete {run} to begin anew")
    if (run / "metrics.jsonl").exists() or folder.exists():
        logger.warning(f"{run}: was stopped before its first checkpoint was whole; beginning at step 1")


def _latest(folder: Path) -> str:
    """What the marker says; empty where there is none."""
    try:
        return read_text(folder / LATEST, SETTINGS, errors="replace").strip()
    except OSError:
        return ""


def read_progress(checkpoint: Path) -> Progress:
    """How far the run was, after checking every file against the manifest."""
    verify(checkpoint)
    progress = Progress(**json.loads(read_text(checkpoint / "progress.json", SETTINGS)))
    if progress.step != _step(checkpoint):
        raise CheckpointError(f"{checkpoint}: holds step {progress.step}; the folder was renamed. {ADVICE}")
    return progress


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The trained tensors by name. Raises CheckpointError where they cannot be read any more."""
    return _tensors(checkpoint / "trainable.safetensors")


def verified_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The same after checking their file against the manifest. Raises CheckpointError."""
    file = checkpoint / "trainable.safetensors"
    _compare(file, _listed(checkpoint)[file.name])
    return read_weights(checkpoint)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What was given to `save` as `state`. Raises CheckpointError where it cannot be read any more."""
    tensors: dict[str, Tensor] = {}
    for shard in sorted(checkpoint.glob("state-*.safetensors")):
        tensors |= _tensors(shard)
    file = checkpoint / "state.json"
    try:
        state: dict[str, Any] = _join(json.loads(read_text(file, STATE)), tensors)
    except (OSError, ValueError, LookupError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error
    return state


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        check_regular(file)
        return load_file(file)
    except (OSError, SafetensorError) as error:  # deleted since it was checked, as a rule
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error


def verify(checkpoint: Path) -> None:
    """Raise CheckpointError naming the first file that is missing, unlisted or differs from the manifest."""
    listed = _listed(checkpoint)
    for name, expected in listed.items():
        _compare(checkpoint / name, expected)
    for file in checkpoint.iterdir():
        if file.name not in listed and file.name != MANIFEST:
            raise CheckpointError(f"{file}: is no part of the checkpoint, {MANIFEST} does not name it. {ADVICE}")


def _listed(checkpoint: Path) -> dict[str, dict[str, int | str]]:
    """The manifest: size and sha256 of every file."""
    manifest = checkpoint / MANIFEST
    try:
        listed = json.loads(read_text(manifest, SETTINGS))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{checkpoint}: {MANIFEST} is missing; the checkpoint is torn. {ADVICE}") from error
    except OSError as error:
        raise CheckpointError(f"{manifest}: cannot be read: {error}. {ADVICE}") from error
    except ValueError as error:
        raise CheckpointError(f"{manifest}: changed since it was written. {ADVICE}") from error
    if not isinstance(listed, dict) or not {"trainable.safetensors", "progress.json", "state.json"} <= listed.keys():
        raise CheckpointError(f"{manifest}: changed since it was written, it names too few files. {ADVICE}")
    return listed


def _compare(file: Path, expected: dict[str, int | str]) -> None:
    try:
        same = file.is_file() and _digest(file) == expected
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error}. {ADVICE}") from error
    if not same:
        raise CheckpointError(f"{file}: missing or changed since it was written. {ADVICE}")


def weights_digest(checkpoint: Path) -> str:
    """The sha256 of the trained tensors' file, as the manifest has it."""
    return str(_listed(checkpoint)["trainable.safetensors"]["sha256"])


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
    """Runs of tensors of at most SHARD bytes, a larger one alone; later views of one storage are copied."""
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


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _digest(file: Path) -> dict[str, int | str]:
    with open_regular(file) as stream:
        return {"size": os.fstat(stream.fileno()).st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
