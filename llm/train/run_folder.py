"""A run folder belongs to one recipe: whose it is, and how it is claimed."""

import json
import re
import sys
from pathlib import Path

from llm.config.schema import RunConfig
from llm.config.yaml_loader import load_yaml, validate
from llm.errors import ConfigError, RunError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import Claim, check_claim, claim
from llm.files.regular_files import RECIPE, read_text
from llm.model.precision import Dtype
from llm.train.checkpoint import list_checkpoints
from llm.train.provenance import changed_lines, comparable, completed
from llm.train.run_lock import NAME as LOCK
from llm.train.run_lock import refuse_running

SECTIONS = {"name", "out", "stage", "seed", "model", "data", "train"}  # of every recipe that a run folder keeps
_WRITER = re.compile(
    r"(process \d+ on .*, since [\d: -]+ UTC)?"
)  # what `exclusive_writer` leaves, or was about to write


def refuse_taken(folder: Path) -> None:
    """Raise RunError if training would write over what is not its own, or beside another writer. Writes nothing."""
    check_claim(folder, RUN)
    refuse_running(folder)


def refuse_other_recipe(folder: Path, config: RunConfig, anyway: bool) -> None:
    """Raise RunError when the folder holds another recipe's run, unless `anyway`. Writes nothing."""
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
    """Keep the resolved recipe in the run folder, whole: half of one would refuse the run that resumes it.

    Raises RunError when that cannot be written, or when the folder is not a run's to write into.
    """
    claim(folder, RUN)
    try:
        write_atomically(folder / "config.yaml", resolved)
        write_atomically(folder / "environment.json", json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error


def begun_before_marks(folder: Path) -> bool:
    """Whether a folder without a mark is a run's: by its lock, or by its checkpoints and its recipe."""
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
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


RUN = Claim(
    kind="run",
    files=(LOCK, "config.yaml", "environment.json", "metrics.jsonl", "report.json", "loss.png"),
    earlier=begun_before_marks,
    folders=("checkpoints", "samples", "cache"),
    inside=("checkpoints/step-*", "checkpoints/latest", "samples/step-*.json"),
)
"""What training writes into its folder."""
