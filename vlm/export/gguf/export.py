"""Export of a run to GGUF files for llama.cpp, LM Studio and Ollama, checked by chatting with them in llama.cpp."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from llm.chat.chat_model import ChatModel
from llm.errors import ConfigError, ModelError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.formats.conversation import ImageRef, Message, MessagePart
from llm.log import logger
from llm.model.hf_export import dense_state, logits, proving, write_and_prove
from vlm.export.gguf.file import write_tensors, writer
from vlm.export.gguf.language import add_language, architecture, language_entries
from vlm.export.gguf.llama_cpp import ChatAnswer, GeneratedToken, chat
from vlm.export.gguf.ollama import modelfile
from vlm.export.gguf.pre_tokenizer import find_pre_tokenizer
from vlm.export.gguf.template import llama_cpp_jinja
from vlm.export.gguf.tower import check_tower, write_tower
from vlm.export.gguf.vocabulary import PreTokenizer, Vocabulary, add_vocabulary, read_vocabulary
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun
from vlm.model.vision_model import VisionModel

MODEL, MMPROJ = "model.gguf", "mmproj.gguf"
# Most mean absolute difference of log-probabilities in any one chat. llama.cpp rounds activations too: measured on tiny
# models 0.0005 with fp32 weights, 0.006 with q8_0.
LIMITS = {"fp32": 0.01, "bf16": 0.1, "q8_0": 0.1}
ANSWER = 12  # tokens of each answer that are compared
LIKELY = 0.01  # probability from which a token counts
BODY = "model.language_model."  # where transformers' Llava keeps the LLM without its head
CHATS: tuple[tuple[str, ...], ...] = (("Who are you?",), ("What is 12 + 34?", "46.", "你是谁？ Who made you?"))
IMAGE_CHATS: tuple[tuple[str, ...], ...] = (("What is this?",), ("What is this?", "A picture.", "Is it  red?"))


@dataclass(frozen=True, slots=True)
class _LanguageTensors:
    """The language model: its module, and its tensors under the names of a causal LM."""

    body: PreTrainedModel
    state: dict[str, Tensor]

    @property
    def vocabulary_size(self) -> int:
        return len(self.state["model.embed_tokens.weight"])


def export_gguf(
    opened: OpenedRun, out: Path, dtype: str, force: bool = False, ollama: bool = False, origin: Origin = UNNAMED
) -> float:
    """Write `model.gguf` and, for a vision model, `mmproj.gguf` of a run whose adapters are merged.

    Returns the mean absolute difference of the log-probabilities of likely tokens, between llama.cpp's answers and the
    trained model on the same tokens, in the chat where it is largest. `force` writes CLIP towers, and whatever the
    difference; `ollama` adds a Modelfile. Raises ConfigError for a model that llama.cpp does not run, ModelError when
    it answers differently.
    """
    vision = opened.model.vision if isinstance(opened.model, VlmModel) else None
    if vision is not None:
        check_tower(vision, force)
    if opened.encoder.template.plain:
        raise ConfigError("--to gguf: a run on captions has no chat template to answer with. Export a finetuned run")
    files = [MODEL] if vision is None else [MODEL, MMPROJ]
    recipe = modelfile(opened.encoder, files) if ollama else ""
    llm = _language(opened)
    architecture(llm.body.config)  # a ConfigError comes before the tokenizer is tried
    vocabulary = read_vocabulary(opened.encoder.tokenizer, llm.vocabulary_size)
    pre = find_pre_tokenizer(vocabulary, opened.encoder)

    def write(folder: Path) -> None:
        _write_model(opened, llm, vocabulary, pre, folder / MODEL, dtype)
        if vision is not None:
            write_tower(vision, folder / MMPROJ, opened.config.name, dtype)
        if recipe:
            (folder / "Modelfile").write_text(recipe, encoding="utf-8")

    limit = math.inf if force else LIMITS[dtype]
    return write_and_prove(out, write, lambda folder: _prove(opened.chat_model, vision, folder, limit), origin)


def _write_model(
    opened: OpenedRun, llm: _LanguageTensors, vocabulary: Vocabulary, pre: PreTokenizer, target: Path, dtype: str
) -> None:
    encoder = opened.encoder
    with writer(target, architecture(llm.body.config)) as file:
        file.add_name(opened.config.name)
        add_language(file, llm.body.config, llm.vocabulary_size)
        add_vocabulary(file, vocabulary, pre, encoder.tokenizer)
        file.add_eos_token_id(encoder.stop_ids[0])
        file.add_chat_template(llama_cpp_jinja(encoder))
        write_tensors(file, list(language_entries(llm.body, llm.state)), dtype)


def _language(opened: OpenedRun) -> _LanguageTensors:
    if not isinstance(opened.model, VlmModel):
        return _LanguageTensors(opened.model.llm, dense_state(opened.model.llm))
    hf = opened.model.vision.hf
    state = {
        name.replace(BODY, "model.", 1): tensor
        for name, tensor in dense_state(hf).items()
        if name.startswith((BODY, "lm_head."))
    }
    return _LanguageTensors(opened.model.vision.language_model, state)


def _prove(chat_model: ChatModel, vision: VisionModel | None, folder: Path, limit: float) -> float:
    """Largest difference over chats with and without images: llama.cpp generates, and we score the same tokens."""
    chats = [_messages(turns) for turns in CHATS]
    if vision is not None:
        # Of the tower's own size: llama.cpp resizes unlike Pillow.
        image = _noise(vision.preprocess.size, seed=0)
        chats += [_messages(turns, image) for turns in IMAGE_CHATS]
    requests = [[_openai(message) for message in messages] for messages in chats]
    answers = chat(folder / MODEL, folder / MMPROJ if vision is not None else None, requests, ANSWER)
    with proving(chat_model.model):
        largest = max(_compare(chat_model, *pair) for pair in zip(chats, answers, strict=True))
        if vision is not None:
            _log_effect_of_image(chat_model, vision, answers[len(CHATS) :])
    if not largest <= limit:
        raise ModelError(
            f"llama.cpp's log-probabilities differ from the trained model's by {largest:.3f} on average, more than "
            f"{limit}. Nothing was written. Please report this with the recipe, or write the files anyway with --force"
        )
    return largest


def _log_effect_of_image(chat_model: ChatModel, vision: VisionModel, answers: list[ChatAnswer]) -> None:
    """Log how much another image changes: for a model that ignores images the check does not cover the tower."""
    other = _noise(vision.preprocess.size, seed=1)
    moved = max(
        _compare(chat_model, _messages(turns, other), answer)
        for turns, answer in zip(IMAGE_CHATS, answers, strict=True)
    )
    logger.info(
        f"another image changes the log-probabilities by {moved:.2e}; if that is little, the tower is hardly checked"
    )


def _compare(chat_model: ChatModel, messages: tuple[Message, ...], answer: ChatAnswer) -> float:
    """Mean difference over the tokens of llama.cpp's answer."""
    ids, images = chat_model.encoder.prompt(messages)
    if answer.prompt != len(ids):
        raise ModelError(
            f"llama.cpp makes {answer.prompt} tokens of a prompt of {len(ids)}. Please report this with the recipe"
        )
    answered = [step.token for step in answer.steps]
    embedded = chat_model.embed(ids + answered, images)[None]
    positions = torch.arange(embedded.shape[1], device=embedded.device)[None]
    ours = logits(chat_model.model, inputs_embeds=embedded, position_ids=positions)[0, len(ids) - 1 : -1]
    logprobs = ours.float().log_softmax(-1).cpu()
    return float(torch.cat([_differences(step, row) for step, row in zip(answer.steps, logprobs, strict=True)]).mean())


def _differences(step: GeneratedToken, row: Tensor) -> Tensor:
    """Differences at likely tokens; those of unlikely ones change with rounding, without any effect on answers."""
    numbers = list(step.logprobs)
    theirs, ours = torch.tensor([step.logprobs[number] for number in numbers]), row[numbers]
    either = torch.maximum(theirs, ours)
    return (theirs - ours).abs()[either >= min(math.log(LIKELY), float(either.max()))]


def _messages(turns: tuple[str, ...], image: bytes = b"") -> tuple[Message, ...]:
    """Questions and answers in turn; the image is shown in the first question."""
    messages = []
    for number, text in enumerate(turns):
        parts: tuple[MessagePart, ...] = (ImageRef(data=image), text) if image and number == 0 else (text,)
        messages.append(Message("assistant" if number % 2 else "user", parts))
    return tuple(messages)


def _openai(message: Message) -> dict[str, Any]:
    """The message in the form of llama.cpp's server."""
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, ImageRef):
            url = "data:image/png;base64," + base64.b64encode(part.data).decode()
            content.append({"type": "image_url", "image_url": {"url": url}})
        else:
            content.append({"type": "text", "text": part})
    return {"role": message.role, "content": message.text if len(content) == 1 else content}


def _noise(size: int, seed: int) -> bytes:
    """A PNG in which every pixel differs."""
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()
