"""The checkpoints of a run: saved under a temporary name, synced, renamed, named in `latest`; old ones are pruned.

`checkpoints/best` names the best one of `train.keep_best`, which is not pruned.

A folder named `step-000500` is therefore complete unless something damaged it later. `checkpoints/latest` names the
newest for people and for tools that copy runs. It is written last and may name an older one after a kill, so readers
take the newest folder, and resuming takes the newest whose files match their manifest. `latest` does prove that a
checkpoint was once saved.
"""

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from llm.errors import CheckpointError, DiskError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.owned_files import make_owned_folder
from llm.files.saved_checkpoints import BEST, LATEST, checkpoint_folder, list_checkpoints, named_checkpoint, step_of
from llm.log import logger
from llm.train.checkpoint_state import Progress, read_progress, sync, write_files

LEAST = 2  # intact checkpoints that are not pruned whatever `keep` is: one may turn out to be damaged


def save(run: Path, progress: Progress, weights: dict[str, Tensor], state: dict[str, Any], keep: int) -> Path:
    """Write `checkpoints/step-N`, name it in `latest` and prune all but the `keep` newest intact ones.

    `state` is any nesting of dicts and lists over tensors and JSON values. Raises DiskError when the disk refuses: then
    there is no folder of that name, and the checkpoints before it are unchanged.
    """
    final = checkpoint_folder(run, progress.step)
    folder = final.parent
    partial = _temporary(final)
    try:
        run.mkdir(parents=True, exist_ok=True)
        make_owned_folder(folder)
        for left in folder.glob(".step-*.partial"):  # of a save or a prune that was killed
            shutil.rmtree(left)
        partial.mkdir()
        write_files(partial, progress, weights, state)
        _publish(partial, final)
        _name(folder, LATEST, final.name)
        best = checkpoint_folder(run, progress.best_step).name
        if progress.best_step and named_checkpoint(folder, BEST) != best:  # also after a kill between the two
            _name(folder, BEST, best)
    except (OSError, SafetensorError) as error:  # safetensors raises its own error when the disk is full
        shutil.rmtree(partial, ignore_errors=True)
        raise DiskError(
            f"{final}: the checkpoint could not be written: {error}. Free space or check the rights, then run the same "
            "command to go on from the checkpoint before"
        ) from error
    _prune(run, final, max(keep, LEAST), progress.best_step)
    return final


def _temporary(checkpoint: Path) -> Path:
    """The name under which a checkpoint is written and deleted; `list_checkpoints` ignores it."""
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def _publish(partial: Path, final: Path) -> None:
    """Give a written folder its name, and sync the folders above it."""
    if final.exists():  # someone reset the run by hand; a killed rmtree must not leave half of it under this name
        old = final.with_name(f".{final.name}.old.partial")
        final.rename(old)
        shutil.rmtree(old)
    partial.rename(final)
    for parent in (final.parent, final.parent.parent):  # `checkpoints` itself may be new
        sync(parent)


def _name(folder: Path, mark: str, name: str) -> None:
    write_atomically(folder / mark, f"{name}\n")
    sync(folder)


def _prune(run: Path, newest: Path, keep: int, best: int) -> None:
    """Delete what is older than the `keep` newest intact checkpoints, but the one of step `best`.

    Each but `newest` is hashed again: one that was intact a day ago may since have been damaged.
    """
    intact = 0
    for checkpoint in reversed(list_checkpoints(run)):
        if step_of(checkpoint) == best:
            continue
        if intact == keep:
            _delete(checkpoint)
        elif checkpoint == newest or _is_intact(checkpoint):
            intact += 1


def _is_intact(checkpoint: Path) -> bool:
    try:
        read_progress(checkpoint)
    except CheckpointError as error:
        logger.warning(f"{error}\n  it does not count towards train.keep")
        return False
    return True


def _delete(checkpoint: Path) -> None:
    """Delete under a temporary name, so that a kill leaves no half checkpoint. A failure does not stop the run."""
    try:
        checkpoint.rename(_temporary(checkpoint))
        shutil.rmtree(_temporary(checkpoint))
    except OSError as error:
        logger.warning(f"{checkpoint}: an old checkpoint could not be deleted, {error}")


def newest_intact(run: Path) -> tuple[Path, Progress] | None:
    """The newest checkpoint whose files match its manifest, and how far it is; None where a run never saved one.

    Newer damaged ones are renamed, with a warning. Raises CheckpointError when all are damaged: a run never begins
    again by itself.
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
        reasons = "\n  ".join(reason for _, reason in damaged)
        raise CheckpointError(f"{run}: no checkpoint is intact:\n  {reasons}\nDelete {run} to begin anew")
    _refuse_lost(run)
    return None


def _set_aside(damaged: list[tuple[Path, str]], intact: Path) -> None:
    """Rename damaged folders, with a warning, and name the `intact` one in `latest`."""
    named = named_checkpoint(intact.parent, LATEST)
    if named and not (intact.parent / named).exists():
        logger.warning(f"{intact.parent / LATEST} names {named}, which is gone; going on from {intact.name}")
    try:
        for folder, reason in damaged:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            logger.warning(f"{reason}\n  set aside as {aside.name}; going on from {intact.name}")
        if named != intact.name:
            _name(intact.parent, LATEST, intact.name)
    except OSError as error:
        raise RunError(f"{intact.parent}: cannot be written: {error}. Check the rights and the free space") from error


def _refuse_lost(run: Path) -> None:
    """Raise CheckpointError where checkpoints were lost; warn where a run was stopped before it saved its first."""
    folder = run / "checkpoints"
    aside = ", ".join(sorted(path.name for path in folder.glob("damaged-step-*")))
    if aside or (folder / LATEST).exists():
        lost = f"none of the checkpoints, though {LATEST} names {named_checkpoint(folder, LATEST)!r}"
        found = f"only {aside}" if aside else lost
        raise CheckpointError(f"{folder}: found {found}. Bring one back, or delete {run} to begin anew")
    if (run / "metrics.jsonl").exists() or folder.exists():
        logger.warning(f"{run}: was stopped before its first checkpoint was complete; beginning at step 1")
