"""A plain Hugging Face folder, ours or not, as a speaker."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from llm.chat import Speaker
from llm.conversation import ImageRef
from llm.encode import Encoder
from llm.errors import ModelError
from llm.model import load_llm, load_tokenizer
from llm.template import load_template
from vlm.images import read_image


def open_exported(folder: Path) -> Speaker:
    """A causal LM folder, or a LLaVA-like folder with a processor; answers with the template it carries.

    Raises ModelError when a vision folder names no image token.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(str(folder))
    template = load_template("auto", tokenizer)
    if "vision_config" not in config:
        llm = load_llm(str(folder), torch.float32)
        embeddings: nn.Module = llm.get_input_embeddings()
        return Speaker(llm, llm, Encoder(tokenizer, template), lambda ids, _: embeddings(torch.tensor(ids)))
    image_id = config.get("image_token_index", config.get("image_token_id"))
    if image_id is None:
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
    eyes = _Eyes(folder, int(image_id))
    encoder = Encoder(tokenizer, template, eyes.image_id, len(eyes.rows([Image.new("RGB", (64, 64))])))
    return Speaker(eyes.model, eyes.model.model.language_model, encoder, eyes.embed)


class _Eyes:
    """A LLaVA-like model with its own processor: pictures to rows of the language model."""

    def __init__(self, folder: Path, image_id: int) -> None:
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
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
