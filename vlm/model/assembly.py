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
from llm.train.run_parts import Batch, RunParts
from vlm.config import VlmPreferConfig, VlmRunConfig
from vlm.model.batch import read_pixels
from vlm.model.build_model import build_vision_model
from vlm.model.feature_cache import FeatureCache
from vlm.model.forward import VlmModel
from vlm.model.run_parts import OpenedVision, prefer_vision_parts, vision_parts
from vlm.model.run_recipe import read_run_config
from vlm.model.stages import recompute_vision
from vlm.model.vision_model import VisionModel
from vlm.vision.tiled_encoder import vision_encoder
from vlm.vision.video_frames import VideoFrames


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
    prefers = isinstance(config, VlmPreferConfig)
    own: RunParts[Batch] = prefer_vision_parts(opened) if prefers else vision_parts(opened)
    parts = evaluated(own, opened, evaluation)
    return run_training(config, parts, resolve_yaml(config), base, anyway)


def open_vision_model(config: VlmRunConfig, home: Path = CWD) -> OpenedVision:
    """Build the recipe's model with what the runs before it trained, and open what this one trains.

    Relative paths in the recipes of those runs begin at `home`.
    """
    model, groups = build_vision_model(config, earlier_runs(config, partial(read_run_config, home=home)))
    vision = model.vision
    recompute_vision(vision, config)
    template = load_template(config.data.template, vision.tokenizer)
    frames = VideoFrames(config.data.video)
    encoder = vision_encoder(vision.tokenizer, template, vision.image_id, vision.tower, frames)
    return OpenedVision(config, model, encoder, groups, _chat_model(model, encoder))


def _chat_model(model: VlmModel, encoder: Encoder) -> ChatModel:
    vision = model.vision
    embed = image_embedder(vision.embed_tokens, vision.image_id, lambda images: embed_files(model, images))
    return ChatModel(vision.hf, vision.language_model, encoder, embed)


def embed_files(model: VlmModel, images: tuple[ImageRef, ...]) -> Tensor:
    """I images, as the encoder gives them -> [R, hidden of the LLM], the rows that take the places of their tokens.

    On the model's device; features come from its cache where it has one.
    """
    # In lockstep the tower runs in all processes or in none, and they need not find the same features.
    cache = None if model.lockstep else model.feature_cache
    shapes = [image.shape for image in images if image.shape is not None]
    if cache is not None:
        return model.vision.image_rows(_through(cache, model.vision, images), shapes)
    pixels = read_pixels(list(images), model.vision.preprocess).to(model.vision.tower.module.device)
    return model.vision.image_rows(model.vision.features(pixels), shapes)


def _through(cache: FeatureCache, vision: VisionModel, images: tuple[ImageRef, ...]) -> Tensor:
    """Features [V, P, C] of the views of images, on the tower's device: cached ones, and others that are cached now."""
    device = vision.tower.module.device
    of_images = [cache.key(image) for image in images]
    keys = dict(zip(of_images, images, strict=True))
    found = {
        key: features.to(device) for key, image in keys.items() if (features := cache.get(key, image.views)) is not None
    }
    missing = [key for key in keys if key not in found]
    if missing:
        pixels = read_pixels([keys[key] for key in missing], vision.preprocess)
        computed = vision.exact_features(pixels.to(device)).split([keys[key].views for key in missing])
        for key, features in zip(missing, computed, strict=True):
            cache.put(key, features)
            found[key] = features
    return torch.cat([found[key] for key in of_images])
