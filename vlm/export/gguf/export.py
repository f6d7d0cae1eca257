"""A run as GGUF files for llama.cpp, LM Studio and Ollama, proved by chatting with them in llama.cpp."""

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
from vlm.export.gguf.llama_cpp import Answer, Step, chat
from vlm.export.gguf.ollama import modelfile
from vlm.export.gguf.pre_tokenizer import find_pre_tokenizer
from vlm.export.gguf.template import llama_cpp_jinja
from vlm.export.gguf.tower import check_tower, write_tower
from vlm.export.gguf.vocabulary import PreTokenizer, Vocabulary, add_vocabulary, read_vocabulary
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun
from vlm.model.vision_model import VisionModel

MODEL, MMPROJ = "model.gguf", "mmproj.gguf"
# Mean absolute difference of a log-probability in any one chat. llama.cpp rounds inside too: measured on tiny models
# 0.0005 with fp32 weights, 0.006 with q8_0.
LIMITS = {"fp32": 0.01, "bf16": 0.1, "q8_0": 0.1}
ANSWER = 12  # tokens of each answer that are compared
SAID = 0.01  # a token counts from this probability on
BODY = "model.language_model."  # where transformers' Llava keeps the LLM without its head
CHATS: tuple[tuple[str, ...], ...] = (("Who are you?",), ("What is 12 + 34?", "46.", "你是谁？ Who made you?"))
SEEN: tuple[tuple[str, ...], ...] = (("What is this?",), ("What is this?", "A picture.", "Is it  red?"))


@dataclass(frozen=True, slots=True)
class _Language:
    """The language model: a module with its config and positions, and its tensors as a causal LM names them."""

    body: PreTrainedModel
    state: dict[str, Tensor]

    @property
    def rows(self) -> int:
        return len(self.state["model.embed_tokens.weight"])


def export_gguf(
    opened: OpenedRun, out: Path, dtype: str, force: bool = False, ollama: bool = False, origin: Origin = UNNAMED
) -> float:
    """Write `model.gguf` and, for a model that sees, `mmproj.gguf`, of a run whose adapters are merged.

    Returns the mean absolute difference of the log-probabilities of the tokens that may be said, between llama.cpp's
    answers and the trained model at the same places, in the chat where it is largest. Raises ConfigError for what
    llama.cpp cannot run, ModelError when it answers differently; with `force` a CLIP tower is written, and whatever
    the difference is. With `ollama` a Modelfile stands beside the files.
    """
    vision = opened.model.vision if isinstance(opened.model, VlmModel) else None
    if vision is not None:
        check_tower(vision, force)
    if opened.encoder.template.plain:
        raise ConfigError("--to gguf: a run on captions has no chat template to answer with. Export a finetuned run")
    files = [MODEL] if vision is None else [MODEL, MMPROJ]
    recipe = modelfile(opened.encoder, files) if ollama else ""
    llm = _language(opened)
    architecture(llm.body.config)  # refused before the tokenizer is tried
    vocabulary = read_vocabulary(opened.encoder.tokenizer, llm.rows)
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
    opened: OpenedRun, llm: _Language, vocabulary: Vocabulary, pre: PreTokenizer, target: Path, dtype: str
) -> None:
    encoder = opened.encoder
    with writer(target, architecture(llm.body.config)) as file:
        file.add_name(opened.config.name)
        add_language(file, llm.body.config, llm.rows)
        add_vocabulary(file, vocabulary, pre, encoder.tokenizer)
        file.add_eos_token_id(encoder.stop_ids[0])
        file.add_chat_template(llama_cpp_jinja(encoder))
        write_tensors(file, list(language_entries(llm.body, llm.state)), dtype)


def _language(opened: OpenedRun) -> _Language:
    if not isinstance(opened.model, VlmModel):
        return _Language(opened.model.llm, dense_state(opened.model.llm))
    hf = opened.model.vision.hf
    state = {
        name.replace(BODY, "model.", 1): tensor
        for name, tensor in dense_state(hf).items()
        if name.startswith((BODY, "lm_head."))
    }
    return _Language(opened.model.vision.language_model, state)


def _prove(chat_model: ChatModel, vision: VisionModel | None, folder: Path, limit: float) -> float:
    """Chats, with and without pictures: llama.cpp writes its answer, and we read the same tokens."""
    chats = [_messages(turns) for turns in CHATS]
    if vision is not None:
        # Of the tower's own size: llama.cpp resizes unlike Pillow.
        picture = _noise(vision.preprocess.size, seed=0)
        chats += [_messages(turns, picture) for turns in SEEN]
    asked = [[_openai(message) for message in messages] for messages in chats]
    answers = chat(folder / MODEL, folder / MMPROJ if vision is not None else None, asked, ANSWER)
    with proving(chat_model.model):
        apart = max(_compare(chat_model, *pair) for pair in zip(chats, answers, strict=True))
        if vision is not None:
            _tell_what_is_seen(chat_model, vision, answers[len(CHATS) :])
    if not apart <= limit:
        raise ModelError(
            f"llama.cpp's log-probabilities differ from the trained model's by {apart:.3f} on average, more than "
            f"{limit}. Nothing was written. Please report this with the recipe, or write it all the same with --force"
        )
    return apart


def _tell_what_is_seen(chat_model: ChatModel, vision: VisionModel, answers: list[Answer]) -> None:
    """A model that says the same whatever it sees proves nothing about its tower: say how much a picture changes."""
    other = _noise(vision.preprocess.size, seed=1)
    moved = max(
        _compare(chat_model, _messages(turns, other), answer) for turns, answer in zip(SEEN, answers, strict=True)
    )
    logger.info(
        f"another picture moves the log-probabilities by {moved:.2e}: the more, the better the proof sees the tower"
    )


def _compare(chat_model: ChatModel, messages: tuple[Message, ...], answer: Answer) -> float:
    """The mean difference over every step of llama.cpp's answer."""
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


def _differences(step: Step, row: Tensor) -> Tensor:
    """At the tokens that may be said: far below, rounding moves log-probabilities that nobody ever meets."""
    numbers = list(step.logprobs)
    theirs, ours = torch.tensor([step.logprobs[number] for number in numbers]), row[numbers]
    either = torch.maximum(theirs, ours)
    return (theirs - ours).abs()[either >= min(math.log(SAID), float(either.max()))]


def _messages(turns: tuple[str, ...], picture: bytes = b"") -> tuple[Message, ...]:
    """Questions and answers in turn; the picture stands in the first question."""
    messages = []
    for number, text in enumerate(turns):
        parts: tuple[MessagePart, ...] = (ImageRef(data=picture), text) if picture and number == 0 else (text,)
        messages.append(Message("assistant" if number % 2 else "user", parts))
    return tuple(messages)


def _openai(message: Message) -> dict[str, Any]:
    """The message as llama.cpp's server takes it."""
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
