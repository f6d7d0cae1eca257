"""The encoder of a run or model folder, made without loading weights."""

from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from llm.config.schema import RunConfig, VideoConfig
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ModelError
from llm.files.untrusted_json import read_object_if_there
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.meta_model import META
from llm.model.model_folder import TEXT_FILES, local_folder
from llm.model.pretrained import load_tokenizer
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.model.image_features import image_features
from vlm.model.meta_model import meta_tower
from vlm.model.vision_model import give_image_token
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.ready_model import open_processor
from vlm.vision.tiled_encoder import vision_encoder
from vlm.vision.video_frames import VideoFrames


def encoder_of_run(config: RunConfig, image_tokens: int = 0) -> Encoder:
    """The encoder that training builds for a recipe; its folders need no weights.

    `image_tokens`: tokens of an image; 0 takes the tower's.
    """
    if isinstance(config, ReadyRunConfig):
        return ReadyEncoder(open_processor(config.model.llm))
    tokenizer = load_tokenizer(config.model.llm)
    template = load_template(config.data.template, tokenizer)
    if isinstance(config, VlmRunConfig):
        image_id, _ = give_image_token(tokenizer)
        frames = VideoFrames(config.data.video)
        if image_tokens:
            return Encoder(tokenizer, template, image_id, image_tokens, frames)
        return vision_encoder(tokenizer, template, image_id, meta_tower(config), frames)
    return Encoder(tokenizer, template)


def encoder_of_folder(path: str, template: str = "auto", image_tokens: int = 0) -> Encoder:
    """The encoder of a Hugging Face folder or hub id. A text model takes images only if `image_tokens` is given.

    Videos are shown by the default of recipes.

    Raises ModelError for a folder without tokenizer, or of a vision model whose image token or tokens per image cannot
    be found.
    """
    tokenizer = load_tokenizer(path)
    folder = local_folder(path, TEXT_FILES)
    settings = read_object_if_there(folder / "config.json")
    made = load_template(template, tokenizer)
    if "vision_config" in settings:
        image_id = settings.get("image_token_index", settings.get("image_token_id"))
        if not isinstance(image_id, int):
            raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
        count = image_tokens or image_tokens_of_folder(folder)
        return Encoder(tokenizer, made, image_id, count, VideoFrames(VideoConfig()))
    if image_tokens:
        image_id, _ = give_image_token(tokenizer)
        return Encoder(tokenizer, made, image_id, image_tokens, VideoFrames(VideoConfig()))
    return Encoder(tokenizer, made)


def image_tokens_of_folder(folder: Path) -> int:
    """Tokens that a LLaVA-like model gives a square image, found by running it on the meta device."""
    import numpy as np
    from PIL import Image

    advice = "Give the number of tokens of an image: --image-rows"
    with as_model_error(f"{folder}: its vision tower cannot be built", advice):
        processor = hf_loaders.load_processor(folder)
        config = hf_loaders.load_config(folder, AutoModelForImageTextToText.__name__)
        with META:
            model = hf_loaders.empty_model(AutoModelForImageTextToText, config)
        blank = Image.fromarray(np.zeros((64, 64, 3), np.uint8))
        pixels = processor.image_processor(images=[blank], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            return len(image_features(model, pixels.to(META))[0])
