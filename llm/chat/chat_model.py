"""`ChatModel` answers conversations, for terminal, page, API, evaluation and probes, with prompts as in training."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from threading import Lock
from typing import Self

import torch
from transformers import PreTrainedModel

from llm.chat.answer_row import AnswerRequest, Embed
from llm.chat.answer_text import AnswerText, cut_at_stop, without_opening
from llm.chat.context_window import trim_to_context
from llm.chat.decode_loop import DecodeLoop
from llm.chat.generation import Prompt, answering, generate
from llm.chat.sampling import Sampling
from llm.chat.token_stream import LastToken, Stopped, StreamedAnswer, TokenSink
from llm.chat.turn import Then, Turn, do_nothing, without_waiting
from llm.decoding.device_thread import DeviceThread
from llm.decoding.prefix_cache import ROOM, PrefixCache
from llm.encoding.encoder import Encoder
from llm.encoding.video_frames import show_frames
from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message, VideoRef
from llm.model.lora import adapters_off


class Decoding:
    """The decode loops of a model, one with its adapters and one without, on one thread. Thread-safe."""

    def __init__(self) -> None:
        self.room = 0  # bytes of the prompts that each loop remembers
        self._device, self._lock = DeviceThread(), Lock()
        self._loops: dict[bool, DecodeLoop] = {}

    def loop(self, model: PreTrainedModel, text: PreTrainedModel, adapters: bool, image_id: int | None) -> DecodeLoop:
        """The loop that the model's answers share, made when it is first asked for."""
        with self._lock:
            if adapters not in self._loops:
                prefixes = PrefixCache(model, self.room, image_id)
                ready = partial(_ready, model, text, adapters)
                self._loops[adapters] = DecodeLoop(model, ready, self._device, prefixes)
            return self._loops[adapters]


@contextmanager
def _ready(model: PreTrainedModel, text: PreTrainedModel, adapters: bool) -> Iterator[None]:
    """The model as it answers inside the block."""
    with answering(model, text), nullcontext() if adapters else adapters_off(model):
        yield


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ChatModel:
    """A model that answers conversations. `embed` turns prompt ids and their images into [T, hidden]."""

    model: PreTrainedModel
    text: PreTrainedModel  # the language model inside `model`, or `model` itself
    encoder: Encoder
    embed: Embed
    adapters: bool = True  # False: answers are generated with its adapters disabled
    _decoding: Decoding = field(default_factory=Decoding, compare=False)

    def remembering(self, room: int = ROOM) -> Self:
        """The same model, which from its first stream on remembers prompts in at most `room` bytes.

        For a model whose weights no longer change: what later prompts begin alike with is not read again.
        """
        self._decoding.room = room
        return self

    def without_adapters(self) -> Self:
        """The same model with its adapters disabled."""
        return replace(self, adapters=False)

    @property
    def sees_images(self) -> bool:
        """Whether it accepts images."""
        return self.encoder.image_id is not None

    @property
    def sees_videos(self) -> bool:
        """Whether it accepts videos."""
        return self.encoder.choose_frames is not None

    def cannot_see(self, messages: tuple[Message, ...]) -> bool:
        """Whether the messages have images or videos that it does not accept."""
        parts = [part for message in messages for part in message.parts]
        sees = {ImageRef: self.sees_images, VideoRef: self.sees_videos}
        return any(isinstance(part, kind) and not able for kind, able in sees.items() for part in parts)

    def shown(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages with the frames of each video in its place, decoded where it came as bytes.

        Raises RecordError for a video that cannot be read or is not accepted.
        """
        return show_frames(Conversation(messages, Place("prompt")), self.encoder.choose_frames).messages

    @property
    def context(self) -> int:
        """Context length in tokens, prompt and answer together; 2**20 without `max_position_embeddings`."""
        return int(self.text.config.to_dict().get("max_position_embeddings", 2**20))

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        """The complete answer."""
        return self.answers([messages], sampling)[0]

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        """One answer per conversation, generated as one batch."""
        rows = self._generated(conversations, sampling)
        return [cut_at_stop(self._decode(row), sampling.stop) for row in rows]

    def _generated(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[list[int]]:
        """The ids of one answer per conversation."""
        prompts = [self._prompt(messages) for messages in conversations]
        with self.answering():
            return generate(self.model, prompts, sampling, self.encoder.stop_ids)

    def stream(
        self,
        messages: tuple[Message, ...],
        sampling: Sampling,
        turn: Turn = without_waiting,
        patience: float = inf,
        reader: str = "a local caller",
        then: Then = do_nothing,
    ) -> StreamedAnswer:
        """The answer in pieces of text as it is generated; `patience` and `reader` as in `StreamedAnswer`.

        `then` is called inside the turn with the ids of the prompt and of the answer, its end mark included.

        All use of the device happens in the thread of the answer, inside `turn`. Raises DataError for messages that
        cannot be encoded.
        """
        return self._streamed(
            *self.encoder.prompt(messages), sampling, turn, patience, reader, then, self.encoder.opening
        )

    def stream_after(
        self,
        ids: list[int],
        images: tuple[ImageRef, ...],
        sampling: Sampling,
        turn: Turn,
        patience: float = inf,
        reader: str = "a local caller",
        then: Then = do_nothing,
    ) -> StreamedAnswer:
        """What follows these ids, as `stream`; `then` is called inside the turn with the ids and those generated.

        They need not be a chat's, so nothing that the model writes is taken for the template's.
        """
        return self._streamed(ids, images, sampling, turn, patience, reader, then, "")

    def _streamed(
        self,
        ids: list[int],
        images: tuple[ImageRef, ...],
        sampling: Sampling,
        turn: Turn,
        patience: float,
        reader: str,
        then: Then,
        opening: str,
    ) -> StreamedAnswer:
        ends, some = self.encoder.stop_ids, sampling.max_new_tokens > 0

        def run(streamer: TokenSink, stopped: Stopped) -> None:
            sink = LastToken(streamer)
            request = AnswerRequest(ids, images, self.embed, sampling, ends, sink, stopped, self.encoder.image_id)
            with turn(stopped):
                self._run(request, some, lambda found: then([*found, *sink.end_mark(ends)]), then is not do_nothing)

        text = AnswerText(self._plain_text, sampling.stop, opening, self.encoder.byte_ids)
        return StreamedAnswer(run, text, ends, len(ids), patience, reader)

    def _run(self, request: AnswerRequest, some: bool, then: Then, called: bool) -> None:
        """Generate the answer, if it is to have tokens, and, if `called`, call `then` on the device's thread."""
        loop = self._decoding.loop(self.model, self.text, self.adapters, request.image_id)
        new = loop.answer(request) if some else []
        if called:
            loop.run(partial(then, [*request.ids, *new]))

    def fit_to_context(self, messages: tuple[Message, ...], new_tokens: int) -> tuple[Message, ...]:
        """The messages without their oldest turns, so that an answer of `new_tokens` fits the context."""
        return trim_to_context(messages, lambda rest: len(self.encoder.prompt(rest)[0]), self.context - new_tokens)

    def answering(self) -> AbstractContextManager[None]:
        """The model as it answers inside the block: in eval mode, with or without its adapters, attention unpacked."""
        return _ready(self.model, self.text, self.adapters)

    def _prompt(self, messages: tuple[Message, ...]) -> Prompt:
        with self.answering():  # a tower may have adapters too
            return self._embedded(*self.encoder.prompt(messages))

    @torch.no_grad()
    def _embedded(self, ids: list[int], images: tuple[ImageRef, ...]) -> Prompt:
        return Prompt(ids, self.embed(ids, images))

    def _decode(self, ids: list[int]) -> str:
        """The text of an answer. What the chat template would write before it is left out, also where it is cut off."""
        return without_opening(self._plain_text(ids), self.encoder.opening)

    def _plain_text(self, ids: list[int]) -> str:
        return str(self.encoder.tokenizer.decode(ids, skip_special_tokens=True))


def question(text: str, images: tuple[str, ...] = (), system: str = "") -> tuple[Message, ...]:
    """A one-turn conversation: images first, then the question."""
    asked = Message("user", (*(ImageRef(path) for path in images), text))
    return (Message("system", (system,)), asked) if system else (asked,)
