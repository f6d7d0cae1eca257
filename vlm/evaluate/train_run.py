"""Training with `train.evaluate`: some questions of benchmark files are asked every so many steps."""

from pathlib import Path
from typing import TYPE_CHECKING

from llm.config.schema import RunConfig
from vlm.model import runs

if TYPE_CHECKING:
    from llm.train.assembly import MakeEvaluation


def train(config: RunConfig, base: Path, anyway: bool = False) -> Path:
    """As `vlm.model.runs.train`, for every recipe. Raises what reading the benchmark files raises before step 1."""
    return runs.train(config, base, anyway, _evaluation() if config.train.evaluate is not None else None)


def _evaluation() -> "MakeEvaluation":
    from vlm.evaluate.training_evaluation import TrainingEvaluation  # here: other runs read no benchmark files

    return TrainingEvaluation
