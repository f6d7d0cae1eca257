"""A plain Hugging Face folder, ours or not, as a ChatModel."""

from pathlib import Path
from typing import Any

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
from vlm.vision.images import read_image


def open_exported(folder: Path, adapter: str = "", bits: int = 0) -> ChatModel:
    """A causal LM folder, or a LLaVA-like folder with a processor; answers with the template it carries.

    `adapter` is a folder that peft wrote for it; `bits` 4 or 8 quantises the weights while they are loaded. Raises
    ModelError when a vision folder names no image token, or when the adapter does not fit.
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
    eyes = _Eyes(folder, image_id, bits)
    known = len(next(eyes.model.get_input_embeddings().parameters()))
    if not 0 <= image_id < known:
        raise ModelError(f"{folder}/config.json: its image token {image_id} is none of the model's {known:,} tokens.")
    add_adapter(eyes.model, adapter)
    with as_model_error(f"{folder}: its vision tower gives no rows of a picture"):
        rows = len(eyes.rows([Image.new("RGB", (64, 64))]))
    encoder = Encoder(tokenizer, template, eyes.image_id, rows)
    embed = image_embedder(eyes.model.get_input_embeddings(), image_id, eyes.embed_files)
    return ChatModel(eyes.model, eyes.model.model.language_model, encoder, embed)


def _image_token(folder: Path, config: dict[str, Any]) -> int:
    """The id that stands for a picture's rows."""
    number = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(number, int):
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
    return number


def add_adapter(model: PreTrainedModel, adapter: str) -> None:
    """Put a LoRA adapter that peft wrote onto a model, in place, if one is named; ModelError when it does not fit."""
    if not adapter:
        return
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    refuse_special_files(Path(adapter))
    with as_model_error(f"{adapter} does not fit the model"):
        hf_loaders.load_adapter(model, Path(adapter))  # injects into the model it is given


class _Eyes:
    """A LLaVA-like model with its own processor: pictures to rows of the language model."""

    def __init__(self, folder: Path, image_id: int, bits: int) -> None:
        options = {"dtype": torch.float32, "quantization_config": quantization_config(bits, torch.float32)}
        with as_model_error(f"{folder}: cannot be loaded as a vision model"):
            self.model: Any = hf_loaders.load_model(AutoModelForImageTextToText, folder, **options)
            self.prepare: Any = hf_loaders.load_processor(folder).image_processor
        self.image_id = image_id

    @torch.no_grad()
    def rows(self, pictures: list[Image.Image]) -> Tensor:
        """[I * P, hidden]."""
        pixels = self.prepare(images=pictures, return_tensors="pt")["pixel_values"]
        return torch.cat(list(self.model.get_image_features(pixel_values=pixels).pooler_output))

    def embed_files(self, images: tuple[ImageRef, ...]) -> Tensor:
        """[I * P, hidden]."""
        return self.rows([read_image(image) for image in images])
