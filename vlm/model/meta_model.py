"""A run's model without its weights, for a forecast: built as a run builds it, on torch's meta device."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from llm.config.prefer import PreferRunConfig
from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch
from llm.model.activation_checkpointing import recompute
from llm.model.causal_lm import head_of
from llm.model.precision import dtype_of
from llm.planning.step_forecast import MetaModel
from llm.prefer.model import PreferModel
from llm.train.build_model import build_text_model
from llm.train.earlier_runs import EarlierRun
from vlm.config import ReadyRunConfig, VlmPreferConfig, VlmRunConfig
from vlm.model.batch import VlmBatch
from vlm.model.build_model import build_vision_model
from vlm.model.stages import recompute_vision
from vlm.model.vision_model import build_tower
from vlm.ready.parts import projector_modules
from vlm.ready.without_weights import ready_without_weights
from vlm.vision.towers import Tower


def meta_model(config: RunConfig, earlier: Sequence[EarlierRun] = ()) -> MetaModel:
    """The recipe's model as training finds it, `earlier` being the runs it starts from, oldest first.

    The folders need hold config.json only. Raises ModelError and ConfigError as building the model does.
    """
    if isinstance(config, ReadyRunConfig):
        return _ready(config)
    if isinstance(config, VlmRunConfig):
        return _vision(config, earlier)
    return _text(config, earlier)


def meta_tower(config: VlmRunConfig) -> Tower:
    """The recipe's vision tower, on meta tensors."""
    return build_tower(config.model, dtype_of(config), weights=False)


def _text(config: RunConfig, earlier: Sequence[EarlierRun]) -> MetaModel:
    model, groups = build_text_model(config, earlier, weights=False)
    heads, again = (head_of(model.llm), model.head_loss, model.head_log_probs), partial(recompute, model.llm, config)
    objective: nn.Module | None = None
    if isinstance(config, PreferRunConfig):
        objective = PreferModel[PackedBatch](model, config.prefer)
    return MetaModel(model, groups, {}, heads, recompute=again, objective=objective)


def _vision(config: VlmRunConfig, earlier: Sequence[EarlierRun]) -> MetaModel:
    model, groups = build_vision_model(config, earlier, weights=False)
    vision = model.vision
    parts: dict[str, nn.Module] = {"tower": vision.tower.module, "projector": vision.projector}
    images, again = (vision.tower.module, vision.projector), partial(recompute_vision, vision, config)
    heads = (vision.lm_head, model.head_loss, model.head_log_probs)
    objective = PreferModel[VlmBatch](model, config.prefer) if isinstance(config, VlmPreferConfig) else None
    return MetaModel(model, groups, parts, heads, images, again, objective=objective)


def _ready(config: ReadyRunConfig) -> MetaModel:
    model, groups = ready_without_weights(config)
    vlm, again = model.vlm, partial(recompute, model.vlm.text, config)
    images = vlm.image_modules()
    # A class may have its projector inside of the tower's module: it is listed last.
    parts: dict[str, nn.Module] = {
        "tower": nn.ModuleList(images),
        "projector": nn.ModuleList(projector_modules(vlm)),
    }
    heads = (vlm.head, model.head_loss)
    return MetaModel(model, groups, parts, heads, tuple(images), again, reads_values=True)
