"""Export of a vision model to a Hugging Face folder: model, processor, tokenizer and chat template.

Weights have the names that files on the Hub have and transformers 4, vLLM and llama.cpp expect.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from llm.chat.prompt_embedding import insert_images_at
from llm.encoding.message_text import IMAGE_PLACEHOLDER
from llm.encoding.multimodal_template import multimodal_jinja
from llm.encoding.template_sandbox import RefusedError, render
from llm.errors import ModelError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.formats.conversation import ImageShape
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.batch_proof import chat_inputs, prove_batch
from llm.model.exported_tokenizer import inference_tokenizer
from llm.model.hf_export import (
    SHARD,
    dense_state,
    difference,
    generation_config,
    logits,
    plain_model,
    proving,
    reload,
    rename_tensors,
    write_and_prove,
)
from vlm.model.vision_model import VisionModel
from vlm.vision.images import Preprocess
from vlm.vision.projector import fold_statistics
from vlm.vision.square_resize import RESAMPLE
from vlm.vision.towers import Tower

# transformers 5 saves these towers as `vision_tower.embeddings...`; files on the Hub have one level more.
NESTED = {"clip_vision_model", "siglip_vision_model"}
PROJECTOR = "model.multi_modal_projector."
PIXEL_LIMIT = 1e-5


def export_vlm(
    model: VisionModel,
    tokenizer: PreTrainedTokenizerBase,
    template_jinja: str,
    out: Path,
    dtype: torch.dtype,
    stop_ids: Sequence[int] = (),
    origin: Origin = UNNAMED,
) -> float:
    """Write a model whose adapters are merged, reload it through the Auto classes, and compare the two in fp32.

    Returns the largest difference of logits at the text around an image. Raises ModelError when transformers' class
    does not support the model or the reloaded folder differs (see `llm.model.hf_export.difference`), RunError when
    `out` cannot be written.
    """
    if model.export_obstacle:
        raise ModelError(f"this model cannot be exported: {model.export_obstacle}")

    def write(folder: Path) -> None:
        plain = plain_model(type(model.hf), model.hf.config, plain_state(model), dtype)
        plain.generation_config = generation_config(model.hf, tokenizer, stop_ids)
        plain.save_pretrained(folder, max_shard_size=SHARD)
        if model.tower.kind in NESTED:
            rename_tensors(folder, lambda name: name.replace("vision_tower.", "vision_tower.vision_model.", 1))
        processor = build_processor(model.tower, tokenizer, template_jinja, plain.generation_config.pad_token_id)
        processor.save_pretrained(folder)
        # Besides the nested copy in processor_config.json: readers before transformers 5 need it.
        processor.image_processor.save_pretrained(folder)

    return write_and_prove(out, write, lambda folder: _prove(model, folder, dtype), origin)


def plain_state(model: VisionModel) -> dict[str, Tensor]:
    """State dict with the Hugging Face class's names; statistics are folded into the projector."""
    state = {name: tensor for name, tensor in dense_state(model.hf).items() if not name.startswith(PROJECTOR)}
    return state | {PROJECTOR + name: tensor for name, tensor in fold_statistics(model.projector).items()}


def build_processor(
    tower: Tower, tokenizer: PreTrainedTokenizerBase, template_jinja: str, pad_id: int | None = None
) -> LlavaProcessor | LlavaNextProcessor:
    """The processor that turns images and messages into the inputs that the model was trained on.

    Its tokenizer is that of `inference_tokenizer`.
    """
    saved = inference_tokenizer(tokenizer, multimodal_jinja(template_jinja), pad_id)
    kind = LlavaProcessor if tower.tiling is None else LlavaNextProcessor
    return kind(
        image_processor=image_processor(tower.preprocess),
        tokenizer=saved,
        patch_size=tower.stride,
        vision_feature_select_strategy=tower.strategy,
        num_additional_image_tokens=tower.leading,
        image_token=IMAGE_PLACEHOLDER,
        chat_template=saved.chat_template,
    )


def image_processor(
    preprocess: Preprocess,
) -> CLIPImageProcessorPil | LlavaImageProcessorPil | LlavaNextImageProcessorPil:
    """transformers' image processor that gives the same pixels. `crop_size` crops nothing: LlavaProcessor reads it.

    It is saved under the name without `Pil`: with torchvision installed AutoProcessor then resizes by it, which
    moves a few pixels in a thousand by one of 256 levels; `backend="pil"` gives the training pixels exactly.
    """
    side = {"height": preprocess.size, "width": preprocess.size}
    settings: dict[str, Any] = {
        "size": side,
        "crop_size": side,
        "do_center_crop": False,
        "resample": RESAMPLE[preprocess.resample],
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
        "do_convert_rgb": True,
    }
    if preprocess.mode == "pad":
        return LlavaImageProcessorPil(do_pad=True, **settings)
    if preprocess.tiling is not None:
        pinpoints = [list(one) for one in preprocess.tiling.resolutions]
        # As in LLaVA-NeXT's own folders, for readers that take the tile's side from there.
        settings["size"] = {"shortest_edge": preprocess.size}
        return LlavaNextImageProcessorPil(image_grid_pinpoints=pinpoints, do_pad=True, **settings)
    return CLIPImageProcessorPil(**settings)


def _prove(model: VisionModel, folder: Path, dtype: torch.dtype) -> float:
    """Largest difference of logits between the reloaded folder and our forward pass, for an image and a question.

    Raises ModelError when it, or a batch of unequal prompts, differs.
    """
    image = _noise(model.preprocess.size, 0)
    with as_model_error(f"{folder}: the exported processor does not load again"):
        processor = hf_loaders.load_processor(folder)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    values = {**processor.tokenizer.special_tokens_map, "add_generation_prompt": True}
    try:
        prompt = render(processor.chat_template, messages, values)
    except RefusedError as error:
        raise ModelError(
            f"the exported chat template refuses an image and a question: {error}. Choose another data.template"
        ) from error
    inputs = processor(images=image, text=prompt, return_tensors="pt", add_special_tokens=False)
    pixels, shape = torch.from_numpy(model.preprocess.views(image)), model.tower.shape(image.size)
    _check_inputs(model, inputs, pixels, shape.tokens)
    with proving(model):
        trained = _trained_logits(model, inputs["input_ids"], pixels, shape).cpu()
    plain = reload(AutoModelForImageTextToText, folder)
    reloaded = logits(plain, **inputs)
    read = inputs["input_ids"] != model.image_id  # logits at the image tokens are never used
    found = difference(reloaded[read], trained[read], dtype)
    prove_image_batch(plain, processor, model.preprocess.size)
    return found


class _Processor(Protocol):
    """A processor that an export saved."""

    tokenizer: PreTrainedTokenizerBase

    def apply_chat_template(self, conversation: object, **options: object) -> object: ...


def prove_image_batch(plain: PreTrainedModel, processor: _Processor, size: int) -> None:
    """Raise ModelError unless questions with and without images are answered in one batch as one by one."""
    if processor.tokenizer.pad_token_id is None:  # no batch can be made with it
        return
    first, second = ({"type": "image", "image": _noise(size, seed)} for seed in (0, 1))
    questions = [(first, "What is this?"), (None, "Hi"), (second, "Which shapes and colours are there, and how many?")]
    conversations = [
        [{"role": "user", "content": [*([image] if image else []), {"type": "text", "text": text}]}]
        for image, text in questions
    ]
    prove_batch(
        plain,
        lambda batch: chat_inputs(processor.apply_chat_template, list(batch), processor_kwargs={"padding": True}),
        conversations,
    )


def _noise(size: int, seed: int) -> Image.Image:
    """An image in which every pixel differs, of the model's own size: every backend gives it the same pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8))


def _check_inputs(model: VisionModel, inputs: Mapping[str, Tensor], pixels: Tensor, tokens: int) -> None:
    """Raise ModelError unless the saved processor gives the image tokens and pixels of training."""
    count = int((inputs["input_ids"] == model.image_id).sum())
    if count != tokens:
        raise ModelError(
            f"the exported processor gives an image {count} tokens, the model {tokens}. Please report this"
        )
    largest = float((inputs["pixel_values"].reshape(pixels.shape) - pixels).abs().max())
    if not largest <= PIXEL_LIMIT:
        raise ModelError(f"the exported processor's pixels differ from training's by {largest:.2e}. Please report this")


def _trained_logits(model: VisionModel, ids: Tensor, pixels: Tensor, shape: ImageShape) -> Tensor:
    """Our own forward pass of one sequence."""
    ids = ids.to(model.hf.device)
    tokens = model.embed_tokens(ids[0])
    images = model.image_rows(model.features(pixels.to(ids.device)), [shape])
    embedded = insert_images_at(tokens, ids[0], model.image_id, images)
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    return logits(model.hf, inputs_embeds=embedded[None], position_ids=positions)
