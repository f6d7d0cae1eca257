"""The checkpoints of a run as folders: which there are, and what their manifests say.

No tensor is read, and torch is not imported: a server lists models before it opens one.
"""

import json
import re
from pathlib import Path

from llm.errors import CheckpointError
from llm.files.regular_files import SETTINGS, read_text

LATEST, BEST = "latest", "best"
NAME = re.compile(r"step-(\d{6,})")
MANIFEST = "manifest.json"
NEEDED = {"trainable.safetensors", "progress.json", "state.json"}  # files that every manifest names
ADVICE = "Choose another checkpoint; training again sets this one aside"


def checkpoint_folder(run: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` steps."""
    return run / "checkpoints" / f"step-{step:06d}"


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint folder is named after."""
    return int(checkpoint.name.removeprefix("step-"))


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first. Their files are not looked at."""
    return sorted((path for path in (run / "checkpoints").glob("step-*") if NAME.fullmatch(path.name)), key=step_of)


def find_checkpoint(run: Path, name: str = "latest") -> Path:
    """The folder of `latest` (the newest), `best`, `step-000500` or `500`.

    Raises CheckpointError naming those that exist.
    """
    found = list_checkpoints(run)
    if name == LATEST and found:
        return found[-1]
    if name == BEST:
        name = named_checkpoint(run / "checkpoints", BEST) or BEST
    wanted = f"step-{int(name):06d}" if name.isdigit() else name
    for folder in found:
        if folder.name == wanted:
            return folder
    have = ", ".join(folder.name for folder in found) or "none"
    raise CheckpointError(f"{run}: no checkpoint {name!r}; there are: {have}")


def named_checkpoint(folder: Path, mark: str) -> str:
    """The name that a marker holds; empty where there is none."""
    try:
        return read_text(folder / mark, SETTINGS, errors="replace").strip()
    except OSError:
        return ""


def weights_digest(checkpoint: Path) -> str:
    """The sha256 of `trainable.safetensors`, as the manifest has it. Raises CheckpointError."""
    return str(read_manifest(checkpoint)["trainable.safetensors"]["sha256"])


def read_manifest(checkpoint: Path) -> dict[str, dict[str, int | str]]:
    """Size and sha256 of every file."""
    path = checkpoint / MANIFEST
    try:
        manifest = json.loads(read_text(path, SETTINGS))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{checkpoint}: {MANIFEST} is missing; the checkpoint is incomplete. {ADVICE}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}. {ADVICE}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: changed since it was written. {ADVICE}") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= NEEDED:
        raise CheckpointError(f"{path}: changed since it was written, it names too few files. {ADVICE}")
    return manifest
