"""How a recipe's vision model is built, with weights for a run or on the meta device for a forecast."""

from collections.abc import Sequence
from pathlib import Path

from llm.attention.interface import use_packed_attention
from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.forward.chunked_loss import in_chunks
from llm.lean import decoder
from llm.model.meta_model import on_meta_unless
from llm.model.precision import dtype_of
from llm.train.build_model import merge_earlier_runs
from llm.train.earlier_runs import EarlierRun
from llm.train.optimizer import ParamGroup
from vlm.config import VlmRunConfig
from vlm.model.forward import VlmModel
from vlm.model.stages import apply_stage
from vlm.model.vision_model import build_vlm


def build_vision_model(
    config: VlmRunConfig, earlier: Sequence[EarlierRun] = (), weights: bool = True
) -> tuple[VlmModel, list[ParamGroup]]:
    """As `llm.train.build_model.build_text_model`. Raises ConfigError when an earlier run is a text run."""
    stages = [(_vision_run(run, folder), folder) for run, folder in earlier]
    with on_meta_unless(weights):
        vision = build_vlm(config.model, dtype_of(config), config.tune.in_four_bits, weights)
        model = VlmModel(vision, decoder.lean_mode(config), in_chunks(config))
        merge_earlier_runs(model, stages, lambda run: apply_stage(vision, run), weights)
        use_packed_attention(vision.language_model)
        return model, apply_stage(vision, config)


def _vision_run(run: RunConfig, folder: Path) -> VlmRunConfig:
    if not isinstance(run, VlmRunConfig):
        raise ConfigError(f"from: {folder} is a text run; a vision run starts from a vision run")
    return run
