"""A Hugging Face folder, exported by us or not, as a ChatModel."""

from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

from llm.chat.chat_model import ChatModel
from llm.chat.prompt_embedding import image_embedder, text_embedder
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ModelError
from llm.files.untrusted_json import read_object
from llm.formats.conversation import ImageRef
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.model_folder import refuse_special_files
from llm.model.pretrained import load_llm, load_tokenizer
from llm.model.quantization import quantization_config
from vlm.model.image_features import image_features
from vlm.vision.images import read_image


def open_hf_folder(folder: Path, adapter: str = "", bits: int = 0) -> ChatModel:
    """Open a causal LM folder, or a LLaVA-like folder with a processor, with the chat template that it holds.

    `adapter` is a folder that peft saved for it; `bits` 4 or 8 quantises the weights while loading. Raises ModelError
    when a vision folder names no image token, or the adapter does not fit.
    """
    refuse_special_files(folder)
    config = read_object(folder / "config.json")
    image_id = _image_token(folder, config) if "vision_config" in config else None
    tokenizer = load_tokenizer(str(folder))
    template = load_template("auto", tokenizer)
    if image_id is None:
        llm = load_llm(str(folder), torch.float32, four_bit=bits == 4, eight_bit=bits == 8)
        add_adapter(llm, adapter)
        return ChatModel(llm, llm, Encoder(tokenizer, template), text_embedder(llm.get_input_embeddings()))
    vision = _HfVisionModel(folder, bits)
    vocabulary = len(next(vision.model.get_input_embeddings().parameters()))
    if not 0 <= image_id < vocabulary:
        raise ModelError(
            f"{folder}/config.json: its image token {image_id} is none of the model's {vocabulary:,} tokens. "
            "Fetch the folder again"
        )
    add_adapter(vision.model, adapter)
    with as_model_error(f"{folder}: its vision tower gives no features of an image"):
        image_tokens = len(vision.embed_images([Image.new("RGB", (64, 64))]))
    encoder = Encoder(tokenizer, template, image_id, image_tokens)
    embed = image_embedder(vision.model.get_input_embeddings(), image_id, vision.embed_files)
    return ChatModel(vision.model, vision.language_model, encoder, embed)


def _image_token(folder: Path, config: dict[str, Any]) -> int:
    """The id of the image token."""
    number = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(number, int):
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
    return number


def add_adapter(model: PreTrainedModel, adapter: str) -> None:
    """Inject a LoRA adapter that peft saved into a model, in place; nothing for "". ModelError when it does not fit."""
    if not adapter:
        return
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    refuse_special_files(Path(adapter))
    with as_model_error(f"{adapter} does not fit the model"):
        hf_loaders.load_adapter(model, Path(adapter))  # in place


class _HfVisionModel:
    """A LLaVA-like model with its own processor."""

    def __init__(self, folder: Path, bits: int) -> None:
        options = {"dtype": torch.float32, "quantization_config": quantization_config(bits, torch.float32)}
        with as_model_error(f"{folder}: cannot be loaded as a vision model"):
            self.model = hf_loaders.load_model(AutoModelForImageTextToText, folder, **options)
            self.prepare = hf_loaders.load_processor(folder).image_processor

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM without its head."""
        return cast(PreTrainedModel, self.model.get_submodule("model.language_model"))

    @torch.no_grad()
    def embed_images(self, images: list[Image.Image]) -> Tensor:
        """I images -> [I * P, hidden of the LLM]."""
        pixels = self.prepare(images=images, return_tensors="pt")["pixel_values"]
        return torch.cat(image_features(self.model, pixels))

    def embed_files(self, images: tuple[ImageRef, ...]) -> Tensor:
        """The same for image files. Raises ImageError for one that cannot be read."""
        return self.embed_images([read_image(image) for image in images])
