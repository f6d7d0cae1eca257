"""A plain Hugging Face folder, ours or not, as a speaker."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from llm.chat import Speaker
from llm.conversation import ImageRef
from llm.encode import Encoder
from llm.errors import ModelError
from llm.model import first_line, load_llm, load_tokenizer, quantised, refuse_special
from llm.template import load_template
from vlm.images import read_image


def open_exported(folder: Path, adapter: str = "", bits: int = 0) -> Speaker:
    """A causal LM folder, or a LLaVA-like folder with a processor; answers with the template it carries.

    `adapter` is a folder that peft wrote for it; `bits` 4 or 8 quantises the weights while they are loaded. Raises
    ModelError when a vision folder names no image token, or when the adapter does not fit.
    """
    refuse_special(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(str(folder))
    template = load_template("auto", tokenizer)
    if "vision_config" not in config:
        llm = load_llm(str(folder), torch.float32, four_bit=bits == 4, eight_bit=bits == 8)
        add_adapter(llm, adapter)
        embeddings: nn.Module = llm.get_input_embeddings()
        return Speaker(llm, llm, Encoder(tokenizer, template), lambda ids, _: embeddings(torch.tensor(ids)))
    image_id = config.get("image_token_index", config.get("image_token_id"))
    if image_id is None:
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
    eyes = _Eyes(folder, int(image_id), bits)
    add_adapter(eyes.model, adapter)
    encoder = Encoder(tokenizer, template, eyes.image_id, len(eyes.rows([Image.new("RGB", (64, 64))])))
    return Speaker(eyes.model, eyes.model.model.language_model, encoder, eyes.embed)


def add_adapter(model: PreTrainedModel, adapter: str) -> None:
    """Put a LoRA adapter that peft wrote onto a model, in place, if one is named; ModelError when it does not fit."""
    if not adapter:
        return
    if not (Path(adapter) / "adapter_config.json").is_file():
        raise ModelError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    refuse_special(Path(adapter))
    try:
        PeftModel.from_pretrained(model, adapter)  # injects into the model it is given
    except (ValueError, RuntimeError, OSError) as cause:
        raise ModelError(f"{adapter} does not fit the model: {first_line(cause)}") from cause


class _Eyes:
    """A LLaVA-like model with its own processor: pictures to rows of the language model."""

    def __init__(self, folder: Path, image_id: int, bits: int) -> None:
        options = {"dtype": torch.float32, "quantization_config": quantised(bits, torch.float32)}
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, **options)
        processor: Any = AutoProcessor
        self.prepare: Any = processor.from_pretrained(folder).image_processor
        self.image_id = image_id

    @torch.no_grad()
    def rows(self, pictures: list[Image.Image]) -> Tensor:
        """[I * P, hidden]."""
        pixels = self.prepare(images=pictures, return_tensors="pt")["pixel_values"]
        return torch.cat(list(self.model.get_image_features(pixel_values=pixels).pooler_output))

    @torch.no_grad()
    def embed(self, ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        """[T, hidden]: token embeddings with the pictures in their rows."""
        row = torch.tensor(ids)
        tokens: Tensor = self.model.get_input_embeddings()(row)
        if not images:
            return tokens
        rows = self.rows([read_image(image) for image in images])
        return tokens.index_copy(0, torch.nonzero(row == self.image_id)[:, 0], rows.to(tokens.dtype))
