"""A vision run put together: its model opened and trained. Text runs: `llm.train.assembly`."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from llm.chat.chat_model import ChatModel
from llm.chat.prompt_embedding import image_embedder
from llm.config.rebased_paths import CWD
from llm.config.yaml_loader import resolve_yaml
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.formats.conversation import ImageRef
from llm.log import logger
from llm.train.assembly import MakeEvaluation, check_tracking, evaluated, resolve_dtype
from llm.train.earlier_runs import earlier_runs
from llm.train.run import run_training
from vlm.config import VlmRunConfig
from vlm.model.batch import read_pixels
from vlm.model.build_model import build_vision_model
from vlm.model.run_parts import OpenedVision, vision_parts
from vlm.model.run_recipe import read_run_config
from vlm.model.stages import recompute_vision
from vlm.model.vision_model import VisionModel


def train_vision(
    config: VlmRunConfig, base: Path, anyway: bool = False, evaluation: MakeEvaluation | None = None
) -> Path:
    """Train a vision run, or continue it; returns its folder. As `llm.train.assembly.train_text`."""
    check_tracking(config)
    config = resolve_dtype(config)
    torch.manual_seed(config.seed)  # projectors and adapters are initialized below
    opened = open_vision_model(config)
    for note in opened.model.vision.notes:  # such as that the model cannot be exported: before step 1
        logger.info(note)
    parts = evaluated(vision_parts(opened), opened, evaluation)
    return run_training(config, parts, resolve_yaml(config), base, anyway)


def open_vision_model(config: VlmRunConfig, home: Path = CWD) -> OpenedVision:
    """Build the recipe's model with what the runs before it trained, and open what this one trains.

    Relative paths in the recipes of those runs begin at `home`.
    """
    model, groups = build_vision_model(config, earlier_runs(config, partial(read_run_config, home=home)))
    vision = model.vision
    recompute_vision(vision, config)
    template = load_template(config.data.template, vision.tokenizer)
    encoder = Encoder(vision.tokenizer, template, vision.image_id, vision.image_tokens)
    return OpenedVision(config, model, encoder, groups, _chat_model(vision, encoder))


def _chat_model(vision: VisionModel, encoder: Encoder) -> ChatModel:
    embed = image_embedder(vision.embed_tokens, vision.image_id, lambda images: embed_files(vision, images))
    return ChatModel(vision.hf, vision.language_model, encoder, embed)


def embed_files(vision: VisionModel, images: tuple[ImageRef, ...]) -> Tensor:
    """I images -> [I * P, hidden of the LLM], on the model's device."""
    pixels = read_pixels(list(images), vision.preprocess).to(vision.tower.module.device)
    return vision.embed_images(vision.features(pixels))
