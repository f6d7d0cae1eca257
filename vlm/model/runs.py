"""Runs of either kind, text or vision. For a text run no vision code is imported."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from llm.config.prefer import PreferRunConfig
from llm.config.rebased_paths import CWD
from llm.config.schema import RunConfig, TextRunConfig
from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.prefer.answers import AnswerBatch
from llm.prefer.assembly import prefer_text_parts
from llm.train.assembly import MakeEvaluation, OpenedText, open_text_model, text_parts, train_text
from llm.train.run_parts import RunParts
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.model.run_recipe import read_run_config

if TYPE_CHECKING:
    from vlm.model.batch import VlmBatch
    from vlm.model.run_parts import OpenedVision
    from vlm.ready.batch import ReadyBatch
    from vlm.ready.training import OpenedReady

OpenedRun = Union[OpenedText, "OpenedVision", "OpenedReady"]
AnyBatch = Union[PackedBatch, BatchShard, AnswerBatch[Any], "VlmBatch", "ReadyBatch"]


def train(config: RunConfig, base: Path, anyway: bool = False, evaluation: MakeEvaluation | None = None) -> Path:
    """Train a run, or continue it; returns its folder. Recipes with `train.evaluate`: `vlm.evaluate.train_run`.

    Relative paths of its data begin at `base`. `anyway`: continue although recipe or data changed since it began.
    """
    if isinstance(config, PreferRunConfig):
        return train_text(config, base, anyway, evaluation, prefer_text_parts)
    if isinstance(config, TextRunConfig):
        return train_text(config, base, anyway, evaluation)
    if isinstance(config, ReadyRunConfig):
        from vlm.ready.training import train_ready

        return train_ready(config, base, anyway, evaluation)
    from vlm.model.assembly import train_vision

    return train_vision(_vision(config), base, anyway, evaluation)


def open_model(config: RunConfig, home: Path = CWD) -> OpenedRun:
    """Build the recipe's model with what the runs before it trained, and open what this one trains.

    Relative paths in the recipes of those runs begin at `home`.
    """
    if isinstance(config, TextRunConfig):
        return open_text_model(config, home)
    if isinstance(config, ReadyRunConfig):
        from vlm.ready.training import open_ready_model

        return open_ready_model(config)
    from vlm.model.assembly import open_vision_model

    return open_vision_model(_vision(config), home)


def open_run(folder: Path, checkpoint: str = "latest", base: bool = False, home: Path = CWD) -> OpenedRun:
    """The model as a run left it at a checkpoint, in eval mode; with `base`, as it was before the run began.

    Relative paths in its recipe begin at `home`, the folder in which it was trained.
    """
    config = read_run_config(folder, home)
    if base:
        return open_untuned(config, home)
    return open_model(config, home).at_checkpoint(folder, checkpoint)


def open_untuned(config: RunConfig, home: Path = CWD) -> OpenedRun:
    """The recipe's model before its own training, without new adapters, in eval mode."""
    frozen = config.model_copy(update={"tune": config.tune.model_copy(update={"kind": "frozen"})})
    opened = open_model(frozen, home)
    opened.model.eval()
    return opened


def parts_of(opened: OpenedRun) -> RunParts[AnyBatch]:
    """What the training loop needs of an opened model."""
    if isinstance(opened, OpenedText):
        return prefer_text_parts(opened) if isinstance(opened.config, PreferRunConfig) else text_parts(opened)
    if isinstance(opened.config, ReadyRunConfig):
        from vlm.ready.training import ready_parts

        return ready_parts(opened)
    from vlm.model.run_parts import prefer_vision_parts, vision_parts

    return prefer_vision_parts(opened) if opened.config.stage == "prefer" else vision_parts(opened)


def _vision(config: RunConfig) -> VlmRunConfig:
    assert isinstance(config, VlmRunConfig), "a recipe trains text or vision"
    return config
