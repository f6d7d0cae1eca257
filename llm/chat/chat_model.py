"""`ChatModel` answers conversations, for terminal, page, API, evaluation and probes, with prompts as in training."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from llm.chat.context_window import trim_to_context
from llm.chat.generation import Prompt, answering, generate
from llm.chat.sampling import Sampling
from llm.chat.token_stream import Stopped, StreamedAnswer, cut_at_stop
from llm.encoding.encoder import Encoder
from llm.formats.conversation import ImageRef, Message
from llm.model.lora import adapters_off

Embed = Callable[[list[int], tuple[ImageRef, ...]], Tensor]
Turn = Callable[[Stopped], AbstractContextManager[None]]  # waits for the device and holds it during the block


def without_waiting(_: Stopped) -> AbstractContextManager[None]:
    """The `Turn` of a caller that has the device to itself."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model that answers conversations. `embed` turns prompt ids and their images into [T, hidden]."""

    model: PreTrainedModel
    text: PreTrainedModel  # the language model inside `model`, or `model` itself
    encoder: Encoder
    embed: Embed
    adapters: bool = True  # False: answers are generated with its adapters disabled

    def without_adapters(self) -> Self:
        """The same model with its adapters disabled."""
        return replace(self, adapters=False)

    @property
    def sees_images(self) -> bool:
        """Whether it accepts images."""
        return self.encoder.image_id is not None

    def cannot_see(self, messages: tuple[Message, ...]) -> bool:
        """Whether the messages have images that it does not accept."""
        return not self.sees_images and any(
            isinstance(part, ImageRef) for message in messages for part in message.parts
        )

    @property
    def context(self) -> int:
        """Context length in tokens, prompt and answer together; 2**20 without `max_position_embeddings`."""
        return int(self.text.config.to_dict().get("max_position_embeddings", 2**20))

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        """The complete answer."""
        return self.answers([messages], sampling)[0]

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        """One answer per conversation, generated as one batch."""
        prompts = [self._prompt(messages) for messages in conversations]
        with self._answering():
            rows = generate(self.model, prompts, sampling, self.encoder.stop_ids)
        return [cut_at_stop(self._decode(row), sampling.stop) for row in rows]

    def stream(
        self,
        messages: tuple[Message, ...],
        sampling: Sampling,
        turn: Turn = without_waiting,
        patience: float = inf,
        reader: str = "a local caller",
    ) -> StreamedAnswer:
        """The answer in pieces of text as it is generated; `patience` and `reader` as in `StreamedAnswer`.

        All use of the device happens in the thread of the answer, inside `turn`. Raises DataError for messages that
        cannot be encoded.
        """
        ids, images = self.encoder.prompt(messages)
        ends = self.encoder.stop_ids

        def run(streamer: BaseStreamer, stopped: Stopped) -> None:
            with turn(stopped), self._answering():
                prompt = self._embedded(ids, images)
                generate(self.model, [prompt], sampling, ends, streamer, stopped)

        return StreamedAnswer(run, self._decode, ends, sampling.stop, len(ids), patience, reader)

    def fit_to_context(self, messages: tuple[Message, ...], new_tokens: int) -> tuple[Message, ...]:
        """The messages without their oldest turns, so that an answer of `new_tokens` fits the context."""
        return trim_to_context(messages, lambda rest: len(self.encoder.prompt(rest)[0]), self.context - new_tokens)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with answering(self.model, self.text):
            if self.adapters:
                yield
                return
            with adapters_off(self.model):
                yield

    def _prompt(self, messages: tuple[Message, ...]) -> Prompt:
        with self._answering():  # a tower may have adapters too
            return self._embedded(*self.encoder.prompt(messages))

    @torch.no_grad()
    def _embedded(self, ids: list[int], images: tuple[ImageRef, ...]) -> Prompt:
        return Prompt(ids, self.embed(ids, images))

    def _decode(self, ids: list[int]) -> str:
        return str(self.encoder.tokenizer.decode(ids, skip_special_tokens=True))


def question(text: str, images: tuple[str, ...] = (), system: str = "") -> tuple[Message, ...]:
    """A one-turn conversation: images first, then the question."""
    asked = Message("user", (*(ImageRef(path) for path in images), text))
    return (Message("system", (system,)), asked) if system else (asked,)
