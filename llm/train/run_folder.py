"""A run folder belongs to one recipe and has one writer: how it is recognized, claimed and locked."""

import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from llm.config.dtype_variable import Dtype
from llm.config.schema import RunConfig
from llm.config.yaml_loader import load_yaml, validate
from llm.errors import ConfigError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import Claim, check_claim, claim
from llm.files.owned_files import open_owned
from llm.files.regular_files import RECIPE, read_text
from llm.files.saved_checkpoints import list_checkpoints
from llm.files.writer_lock import LOCK, UNNAMED, take_lock
from llm.train.provenance import changed_lines, comparable, completed

SECTIONS = {"name", "out", "stage", "seed", "model", "data", "train"}  # of the recipe in every run folder
_WRITER = re.compile(r"(process \d+ on .*, since [\d: -]+ UTC)?")  # content of the lock file; empty: not written yet


def refuse_taken(folder: Path) -> None:
    """Raise RunError if training would overwrite files of others, or another process trains there. Writes nothing."""
    check_claim(folder, RUN)
    refuse_running(folder)


def refuse_other_recipe(folder: Path, config: RunConfig, anyway: bool) -> None:
    """Raise RunError when the folder holds the run of another recipe, unless `anyway`. Writes nothing."""
    recipe = folder / "config.yaml"
    if anyway or not recipe.exists() or not list_checkpoints(folder):
        return
    if changed := changed_lines(completed(recipe, type(config)), comparable(config)):
        raise RunError(
            f"{folder} holds a run of another recipe; these lines differ:\n{changed}\n"
            f"Go on with the old recipe ({recipe}), choose another `out`, delete the folder, or add --anyway"
        )


def begun_dtype(folder: Path, kind: type[RunConfig]) -> Dtype | None:
    """The dtype of the run that the folder holds; None where none has a checkpoint, or its recipe cannot be read."""
    recipe = folder / "config.yaml"
    if not recipe.exists() or not list_checkpoints(folder):
        return None
    try:
        dtype = validate(load_yaml(recipe), kind).train.dtype
    except ConfigError:
        return None
    return None if dtype == "auto" else dtype


def claim_folder(folder: Path, resolved: str) -> None:
    """Write the resolved recipe and the versions of packages into the run folder, atomically.

    Half a recipe would refuse the run that resumes it. Raises RunError when the folder cannot be written or holds files
    of others.
    """
    claim(folder, RUN)
    try:
        write_atomically(folder / "config.yaml", resolved)
        write_atomically(folder / "environment.json", json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error


def require_folder(folder: Path) -> None:
    """Raise RunError when the run folder was deleted while it is trained: a checkpoint without it is none."""
    if not (folder / "config.yaml").exists():
        raise RunError(
            f"{folder}: the run folder was deleted or emptied while it was trained; nothing more is written there. "
            "Train again"
        )


def begun_before_marks(folder: Path) -> bool:
    """Whether a folder without a mark holds a run: it has its lock, or checkpoints and a recipe."""
    locked, recipe = (folder / LOCK).exists(), folder / "config.yaml"
    if locked and not _is_lock(folder / LOCK):
        return False
    if not locked and not (recipe.exists() and list_checkpoints(folder)):
        return False
    try:
        return not recipe.exists() or load_yaml(recipe).values.keys() >= SECTIONS
    except ConfigError:
        return False


def _is_lock(path: Path) -> bool:
    try:
        return bool(_WRITER.fullmatch(read_text(path, RECIPE)))
    except (OSError, ValueError):
        return False


def _environment() -> dict[str, str]:
    """Versions of Python and of the packages that decide about results."""
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


@contextmanager
def exclusive_writer(folder: Path) -> Iterator[None]:
    """Make the run folder and lock it for this process; the lock ends with the process, however that ends.

    Raises RunError naming the process that holds it, or why the folder cannot be written.
    """
    with _folder_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = open_owned(folder / LOCK, "a+")
    with stream:
        _lock(stream, folder)
        who = f"process {os.getpid()} on {platform.node()}, since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        with _folder_named(folder):
            stream.truncate(0)
            os.write(stream.fileno(), who.encode())  # unbuffered: closing would try again on a full disk
        yield


@contextmanager
def _folder_named(folder: Path) -> Iterator[None]:
    """Raise RunError for an OSError, with the folder and what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{folder}: the run folder cannot be written: {error}. Free space, or choose another `out`"
        ) from error


def refuse_running(folder: Path) -> None:
    """Raise RunError if a process trains in the folder now; asked before the seconds that loading a model takes."""
    try:
        stream = open_owned(folder / LOCK, "r")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{folder / LOCK}: cannot be read: {error.strerror}. Choose another `out`") from error
    with stream:
        _lock(stream, folder)


def _lock(stream: TextIO, folder: Path) -> None:
    if not take_lock(stream):
        stream.seek(0)
        raise RunError(
            f"{folder} is being trained by {stream.read() or UNNAMED}. Wait for it, stop it, or choose another `out`"
        )


RUN = Claim(
    kind="run",
    files=(LOCK, "config.yaml", "environment.json", "metrics.jsonl", "report.json", "loss.png"),
    earlier=begun_before_marks,
    folders=("checkpoints", "samples", "cache", "track"),
    inside=("checkpoints/step-*", "checkpoints/latest", "checkpoints/best", "samples/step-*.json", "track/*.json"),
)
"""What training writes into its folder."""
