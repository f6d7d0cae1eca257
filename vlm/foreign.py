"""A plain Hugging Face folder, ours or not, as a speaker."""

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from llm.chat import Speaker
from llm.conversation import ImageRef
from llm.encode import Encoder
from llm.errors import ModelError
from llm.model import load_llm, load_tokenizer
from llm.template import load_template
from vlm.images import read_image


def open_exported(folder: Path) -> Speaker:
    """A causal LM folder, or a LLaVA-like folder with a processor; answers with the template it carries."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(str(folder))
    template = load_template("auto", tokenizer)
    if "vision_config" not in config:
        llm = load_llm(str(folder), torch.float32)
        embeddings = llm.get_input_embeddings()
        return Speaker(llm, llm, Encoder(tokenizer, template), lambda ids, _: embeddings(torch.tensor(ids)))
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    image_id = config.get("image_token_index", config.get("image_token_id"))
    if image_id is None:
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")

    def pixels(images: tuple[ImageRef, ...]) -> Tensor:
        pictures = [read_image(image) for image in images]
        return processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]

    @torch.no_grad()
    def embed(ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        row = torch.tensor(ids)
        tokens = model.get_input_embeddings()(row)
        if not images:
            return tokens
        rows = torch.cat(list(model.get_image_features(pixel_values=pixels(images)).pooler_output))
        return tokens.index_copy(0, torch.nonzero(row == image_id)[:, 0], rows.to(tokens.dtype))

    rows = _rows_per_image(model, pixels)
    return Speaker(model, model.model.language_model, Encoder(tokenizer, template, image_id, rows), embed)


@torch.no_grad()
def _rows_per_image(model, pixels) -> int:  # type: ignore[no-untyped-def]
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    values = pixels((ImageRef(data=buffer.getvalue()),))
    return len(model.get_image_features(pixel_values=values).pooler_output[0])
