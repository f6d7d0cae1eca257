"""A ready model as a ChatModel: its answers come from its own `generate`, one prompt at a time."""

from threading import Lock
from typing import NoReturn, cast

import torch
from torch import Tensor

from llm.chat.answer_row import AnswerRequest
from llm.chat.chat_model import ChatModel
from llm.chat.generation import generate_from
from llm.chat.sampling import Sampling
from llm.chat.token_stream import Stopped, TokenSink
from llm.chat.turn import Then
from llm.errors import ConfigError
from llm.formats.conversation import ImageRef, Message
from vlm.ready.batch import read_inputs
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.processor import TOKEN_TYPES, floats_as
from vlm.ready.ready_model import ReadyVlm


class ReadyChatModel(ChatModel):
    """As ChatModel, of which `embed` is a ReadyPrompts."""

    __slots__ = ()

    @property
    def prompts(self) -> "ReadyPrompts":
        """Prompts as its model takes them."""
        return cast(ReadyPrompts, self.embed)

    @property
    def ready_encoder(self) -> ReadyEncoder:
        """Its encoder."""
        return cast(ReadyEncoder, self.encoder)

    def _generated(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[list[int]]:
        prompts = [self.encoder.prompt(messages) for messages in conversations]
        generate = self.prompts.generate
        with self.answering():
            return [generate(ids, images, sampling, self.encoder.stop_ids) for ids, images in prompts]

    def _run(self, request: AnswerRequest, some: bool, then: Then, called: bool) -> None:
        prompts = self.prompts
        with prompts.alone, self.answering():
            new: list[int] = []
            if some:
                given = (request.ids, request.images, request.sampling, request.stop_ids)
                new = prompts.generate(*given, request.sink, request.stopped)
            if called:
                then([*request.ids, *new])


class ReadyPrompts:
    """Prompts of a model as its own `generate` takes them. Embeddings alone do not tell it where its images are."""

    def __init__(self, vlm: ReadyVlm) -> None:
        self.vlm = vlm
        self.alone = Lock()  # its class keeps the positions of the answer it writes

    def __call__(self, ids: list[int], images: tuple[ImageRef, ...]) -> NoReturn:
        """Raises ConfigError: no part of the program that computes with embeddings can do so for such a model."""
        raise ConfigError(
            f"{self.vlm.name}: the embeddings of a prompt do not say where its images are, so they cannot be used for "
            "a model that model.vlm names"
        )

    @torch.no_grad()
    def next_logits(self, ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        """[1, V] after the last token, by the model's own forward pass. Called in the model's answering state."""
        logits: Tensor = self.vlm.hf(**self._inputs(ids, images), use_cache=False, logits_to_keep=1).logits
        return logits[0, -1:]

    def generate(
        self,
        ids: list[int],
        images: tuple[ImageRef, ...],
        sampling: Sampling,
        stop_ids: tuple[int, ...],
        sink: TokenSink | None = None,
        stopped: Stopped = lambda: False,
    ) -> list[int]:
        """The new ids without the end mark. Called in the model's answering state."""
        with self.vlm.with_loose():
            return generate_from(self.vlm.hf, self._inputs(ids, images), sampling, stop_ids, sink, stopped)[0]

    def _inputs(self, ids: list[int], images: tuple[ImageRef, ...]) -> dict[str, Tensor]:
        vlm = self.vlm
        row = torch.tensor([ids], device=vlm.hf.device)
        inputs = {"input_ids": row, "attention_mask": torch.ones_like(row)}
        types = vlm.token_types(row[0])
        if types is not None:
            inputs |= {name: types[None].to(row.device) for name in TOKEN_TYPES if vlm.takes(name)}
        if images:
            inputs |= floats_as(read_inputs(images, vlm.processor), vlm.hf.dtype, row.device)
        return inputs


def chat_model(vlm: ReadyVlm, encoder: ReadyEncoder) -> ReadyChatModel:
    """The model as it answers."""
    return ReadyChatModel(vlm.hf, vlm.text, encoder, ReadyPrompts(vlm))
