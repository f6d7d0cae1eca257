"""A Hugging Face folder, exported by us or not, as a ChatModel."""

from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoModelForImageTextToText,
    FastVlmForConditionalGeneration,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from llm import distributed
from llm.chat.chat_model import ChatModel
from llm.chat.prompt_embedding import image_embedder, text_embedder
from llm.config.schema import VideoConfig
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ModelError
from llm.files.untrusted_json import read_object
from llm.formats.conversation import ImageRef
from llm.library_errors import as_model_error
from llm.log import logger
from llm.model import hf_loaders
from llm.model.eval_mode import asked_of_generation
from llm.model.model_folder import TOKENIZER_FILES, refuse_special_files
from llm.model.precision import DTYPES, this_machine
from llm.model.pretrained import load_llm, load_tokenizer, refuse_gaps
from llm.model.quantization import forbid_repacking, quantization_config, read_rows_exactly
from vlm.model.adapter_folder import AdapterFolder
from vlm.model.image_features import image_features
from vlm.model.merged_folder import warn_of_rounding
from vlm.model.shared_tensors import OnModel, ignore
from vlm.ready.chat import chat_model
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.ready_model import open_ready
from vlm.vision.foreign_padding import spare_square
from vlm.vision.images import read_image
from vlm.vision.video_frames import VideoFrames


def open_hf_folder(
    folder: Path, adapter: AdapterFolder | None = None, bits: int = 0, complete: OnModel = ignore
) -> ChatModel:
    """Open a causal LM folder, or a LLaVA-like folder with a processor, with the chat template that it holds.

    It is on this process's device, in the dtype that the device multiplies. `adapter` is one that peft saved for it,
    whose tokenizer and template, if it has any, take the place of the folder's; `bits` 4 or 8 quantises the weights
    while loading. `complete` is called with the model before it is moved to the device. Raises ModelError when a vision
    folder names no image token, or the adapter does not fit.
    """
    refuse_special_files(folder)
    warn_of_rounding(folder, bits)
    config = read_object(folder / "config.json")
    image_id = _image_token(folder, config) if "vision_config" in config else None
    if image_id is not None and not _is_assembled(config):
        return _open_ready(folder, adapter, bits, complete)
    tokenizer = load_tokenizer(str(_tokenizer_folder(folder, adapter)))
    template = load_template("auto", tokenizer)
    dtype = DTYPES[this_machine().auto_dtype]
    if image_id is None:
        llm = load_llm(str(folder), dtype, four_bit=bits == 4, eight_bit=bits == 8)
        add_adapter(llm, adapter)
        complete(llm)
        _place(llm)
        _note_settings(folder, llm)
        return ChatModel(llm, llm, Encoder(tokenizer, template), text_embedder(llm.get_input_embeddings()))
    vision = _HfVisionModel(folder, bits, dtype)
    vocabulary = len(next(vision.model.get_input_embeddings().parameters()))
    if not 0 <= image_id < vocabulary:
        raise ModelError(
            f"{folder}/config.json: its image token {image_id} is none of the model's {vocabulary:,} tokens. "
            "Fetch the folder again"
        )
    add_adapter(vision.model, adapter)
    complete(vision.model)
    _place(vision.model)
    _note_settings(folder, vision.model)
    with as_model_error(f"{folder}: its vision tower gives no features of an image"):
        image_tokens = len(vision.embed_images([Image.new("RGB", (64, 64))]))
    encoder = Encoder(tokenizer, template, image_id, image_tokens, VideoFrames(VideoConfig()))
    embed = image_embedder(vision.model.get_input_embeddings(), image_id, vision.embed_files)
    return ChatModel(vision.model, vision.language_model, encoder, embed)


def _is_assembled(config: dict[str, Any]) -> bool:
    """Whether the model is of a class that vision runs are assembled in: its images are squares of one size.

    True for a type that transformers does not know, of which the loaders say more.
    """
    kind = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(str(config.get("model_type")))
    return kind is None or kind in (LlavaForConditionalGeneration.__name__, FastVlmForConditionalGeneration.__name__)


def _open_ready(folder: Path, adapter: AdapterFolder | None, bits: int, complete: OnModel) -> ChatModel:
    """A VLM of any other class, which answers by its own `generate`."""
    vlm = open_ready(str(folder), DTYPES[this_machine().auto_dtype], bits)
    add_adapter(vlm.hf, adapter)
    complete(vlm.hf)
    _place(vlm.hf)
    _note_settings(folder, vlm.hf)
    return chat_model(vlm, ReadyEncoder(vlm.processor))


def _image_token(folder: Path, config: dict[str, Any]) -> int:
    """The id of the image token."""
    number = config.get("image_token_index", config.get("image_token_id"))
    if not isinstance(number, int):
        raise ModelError(f"{folder}/config.json names no image token. Is it a LLaVA-like model?")
    return number


def _place(model: PreTrainedModel) -> None:
    """Move a model, in place, to the device of this process."""
    nn.Module.to(model, distributed.device())


def _note_settings(folder: Path, model: PreTrainedModel) -> None:
    """Log what the folder asks of generation, since answers do not follow it."""
    if asked := asked_of_generation(model):
        logger.info(
            f"{folder}: its generation_config.json asks for {asked}; here the options of the command or the request "
            "decide alone, and without them answers are greedy"
        )


def _tokenizer_folder(folder: Path, adapter: AdapterFolder | None) -> Path:
    """The adapter's folder if it has a tokenizer, else the model's."""
    has_one = adapter is not None and any((adapter.path / name).is_file() for name in TOKENIZER_FILES)
    return adapter.path if adapter is not None and has_one else folder


def add_adapter(model: PreTrainedModel, adapter: AdapterFolder | None) -> None:
    """Inject a LoRA adapter into a model, in place; nothing for None. ModelError when it does not fit."""
    if adapter is None:
        return
    with as_model_error(f"{adapter.path} does not fit the model"):
        hf_loaders.load_adapter(model, adapter.path)  # in place


class _HfVisionModel:
    """A LLaVA-like model with its own processor."""

    def __init__(self, folder: Path, bits: int, dtype: torch.dtype) -> None:
        options = {"dtype": dtype, "quantization_config": quantization_config(bits, dtype)}
        with as_model_error(f"{folder}: cannot be loaded as a vision model"):
            self.model, report = hf_loaders.load_model_with_report(
                AutoModelForImageTextToText, folder, ignore_mismatched_sizes=True, **options
            )
            self.prepare = hf_loaders.load_processor(folder).image_processor
            self.settings = self.prepare.to_dict()
        refuse_gaps(str(folder), report)
        read_rows_exactly(self.model)
        forbid_repacking(self.model)
        self.dtype = dtype

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM without its head."""
        return cast(PreTrainedModel, self.model.get_submodule("model.language_model"))

    @torch.no_grad()
    def embed_images(self, images: list[Image.Image]) -> Tensor:
        """I images -> [I * P, hidden of the LLM]."""
        fitting = [spare_square(image, self.settings) for image in images]
        pixels = self.prepare(images=fitting, return_tensors="pt")["pixel_values"]
        return torch.cat(image_features(self.model, pixels.to(self.model.device, self.dtype)))

    def embed_files(self, images: tuple[ImageRef, ...]) -> Tensor:
        """The same for image files. Raises ImageError for one that cannot be read."""
        return self.embed_images([read_image(image) for image in images])
