"""The recipe that a run folder holds, of a text or a vision run."""

from pathlib import Path

from llm.config.rebased_paths import CWD, rebased
from llm.config.schema import RunConfig
from llm.errors import RunError
from llm.train.earlier_runs import read_recipe
from vlm.config import parse_config


def read_run_config(folder: Path, home: Path = CWD) -> RunConfig:
    """The recipe a run folder was made from, its relative paths resolved against `home`. Raises RunError, ConfigError.

    `home` is the folder in which the run was trained.
    """
    config = parse_config(read_recipe(folder))
    if not isinstance(config, RunConfig):
        raise RunError(f"{folder} holds a run of stage {config.stage}; name the folder of a training run")
    return config if home == CWD else rebased(config, home)
