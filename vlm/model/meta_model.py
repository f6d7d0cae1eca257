"""A run's model without its weights: what assembly.open_model builds, on torch's meta device, from config files."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.forward.chunked_loss import in_chunks
from llm.forward.text_model import TextModel
from llm.lean import decoder
from llm.model.activation_checkpointing import recompute
from llm.model.lora import LoraLinear, apply_tuning, is_four_bit, replace_adapted
from llm.model.meta_model import META, dense_stand_in, llm_skeleton
from llm.model.precision import dtype_of
from llm.model.pretrained import TEXT_FILES, load_tokenizer, local_folder
from llm.planning.step_forecast import Shape
from llm.train.optimizer import ParamGroup
from vlm.config import VlmRunConfig
from vlm.model.forward import VlmModel
from vlm.model.stages import open_stage
from vlm.model.vision_model import VOCABULARY_MULTIPLE, ImageToken, VisionModel, assemble, place_image_token
from vlm.vision.projector import build_projector
from vlm.vision.towers import Tower, load_tower

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def skeleton(config: RunConfig, earlier: Sequence[RunConfig] = ()) -> Shape:
    """The recipe's model as training finds it, `earlier` being the runs it starts from, oldest first.

    The folders need hold config.json only. Raises ModelError and ConfigError as building the model does.
    """
    with META:
        if isinstance(config, VlmRunConfig):
            return _vision(config, earlier)
        return _text(config, earlier)


def _text(config: RunConfig, earlier: Sequence[RunConfig]) -> Shape:
    llm = llm_skeleton(config.model.llm, dtype_of(config), config.tune.in_four_bits)
    for run in earlier:
        apply_tuning(llm, run.tune)
        replace_adapted(llm, _merged, dense=False)
    llm.requires_grad_(False)
    parameters = apply_tuning(llm, config.tune)
    groups = [ParamGroup("llm", parameters, config.optim.lr)]
    model = TextModel(llm, decoder.wanted(config), in_chunks(config))
    heads, again = (_head(llm), model.head_loss), partial(recompute, llm, config)
    return Shape(model, llm, groups, {}, heads, recompute=again)


def _vision(config: VlmRunConfig, earlier: Sequence[RunConfig]) -> Shape:
    vision = vision_skeleton(config)
    for run in earlier:
        if not isinstance(run, VlmRunConfig):
            raise ConfigError(f"from: {run.name} is a text run; a vision run starts from a vision run")
        open_stage(vision, run)
        replace_adapted(vision, _merged, dense=False)
    groups = open_stage(vision, config)
    parts: dict[str, nn.Module] = {"tower": vision.tower, "projector": vision.projector}
    model = VlmModel(vision, decoder.wanted(config), in_chunks(config))
    pictures, again = (vision.tower, vision.projector), partial(recompute, vision.language_model, config)
    heads = (vision.lm_head, model.head_loss)
    return Shape(model, vision.language_model, groups, parts, heads, pictures, again)


def vision_skeleton(config: VlmRunConfig) -> VisionModel:
    """A fresh vision model, as `build_vlm` gives it."""
    model, dtype = config.model, dtype_of(config)
    tower = tower_skeleton(config)
    llm = llm_skeleton(model.llm, dtype, config.tune.in_four_bits)
    projector = build_projector(model, tower.hidden, llm.config.hidden_size)
    projector.linears.to(dtype)
    tokenizer: Any = None  # a forecast encodes nothing
    image = _image_token(model.llm, llm)
    hf = assemble(model, llm, tower, projector, image.id)
    return VisionModel(model, hf, projector, tower, tokenizer, image)


def tower_skeleton(config: VlmRunConfig) -> Tower:
    """The tower, as `load_tower` gives it."""
    model, dtype = config.model, dtype_of(config)
    with META:
        return load_tower(
            model.tower, model.tower_layer, model.image_size, model.image_mode, model.pool, dtype, weights=False
        )


def _image_token(path: str, llm: PreTrainedModel) -> ImageToken:
    """As the tokenizer has it; a folder without one is taken to lack a row for it, as most vocabularies do."""
    tokenizer = tokenizer_of(path)
    if tokenizer is not None:
        return place_image_token(tokenizer, llm)
    rows = int(llm.config.get_text_config().vocab_size)
    llm.resize_token_embeddings(-(-(rows + 1) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE, mean_resizing=False)
    return ImageToken(rows, "no tokenizer to look at: the embeddings are taken to grow by a row for <image>")


def tokenizer_of(path: str) -> PreTrainedTokenizerBase | None:
    """The folder's tokenizer, or None where it has none."""
    folder = local_folder(path, TEXT_FILES)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    with torch.device("cpu"):
        return load_tokenizer(path)


def _merged(layer: LoraLinear) -> nn.Module:
    """What merging leaves of an adapted linear."""
    return dense_stand_in(layer.base_layer) if is_four_bit(layer.base_layer) else layer.base_layer


def _head(llm: PreTrainedModel) -> nn.Module:
    whole: Any = llm
    head: nn.Module = whole.get_output_embeddings()
    return head
