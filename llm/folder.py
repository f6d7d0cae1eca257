"""A run folder belongs to one recipe: whose it is, and how it is claimed."""

import json
import sys
from pathlib import Path

from llm.checkpoint import list_checkpoints
from llm.config import RunConfig
from llm.errors import ConfigError, RunError
from llm.ground import changed_lines, comparable, completed
from llm.load import load_yaml, validate
from llm.precision import Dtype
from llm.whole import write_whole


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

    Raises RunError when that cannot be written.
    """
    try:
        write_whole(folder / "config.yaml", resolved)
        write_whole(folder / "environment.json", json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error


def _environment() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}
