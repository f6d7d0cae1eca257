"""What identifies the weights of a model: an evaluation that was interrupted goes on with the same ones only."""

import hashlib
from pathlib import Path

from llm.errors import ConfigError
from llm.files.saved_checkpoints import find_checkpoint, weights_digest


def model_identity(folder: Path, checkpoint: str, *options: object) -> str:
    """A hash of a run's checkpoint, or of the sizes and times of a folder's files; and of `options` of opening it.

    Raises ConfigError without the folder, CheckpointError without the checkpoint.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Name a run, a model folder or an adapter's folder")
    if (folder / "checkpoints").is_dir():
        state: object = weights_digest(find_checkpoint(folder, checkpoint))
    else:
        files = sorted(one for one in folder.iterdir() if one.is_file())
        state = [(one.name, (status := one.stat()).st_size, status.st_mtime_ns) for one in files]
    return hashlib.sha256(repr((state, options)).encode()).hexdigest()
