"""Talking to a model: one speaker for terminal, evaluation and probes, prompts built as in training."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Queue

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from llm.conversation import ImageRef, Message
from llm.encode import Encoder
from llm.generate import Sampling, answering, generate

Embed = Callable[[list[int], tuple[ImageRef, ...]], Tensor]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that answers conversations. `embed` turns prompt ids and their images into [T, hidden]."""

    model: PreTrainedModel
    text: PreTrainedModel  # the language model inside `model`, or `model` itself
    encoder: Encoder
    embed: Embed

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        """One whole answer."""
        return self.answers([messages], sampling)[0]

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        """One answer each, generated together."""
        prompts = [self._prompt(messages) for messages in conversations]
        with answering(self.model, self.text):
            rows = generate(self.model, prompts, sampling, self.encoder.stop_ids)
        return [_cut(self._decode(row), sampling.stop) for row in rows]

    def stream(self, messages: tuple[Message, ...], sampling: Sampling) -> Iterator[str]:
        """The answer's text as it grows, piece by piece. Closing the iterator stops the generation."""
        prompt = self._prompt(messages)
        queue: Queue[list[int] | BaseException | None] = Queue()
        stopped = threading.Event()

        def work() -> None:
            try:
                with answering(self.model, self.text):
                    streamer = _Pieces(queue)
                    generate(self.model, [prompt], sampling, self.encoder.stop_ids, streamer, stopped.is_set)
            except BaseException as error:
                queue.put(error)
                raise
            finally:
                queue.put(None)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from self._pieces(queue, sampling.stop)
        finally:
            stopped.set()
            thread.join()

    def _pieces(self, queue: "Queue[list[int] | BaseException | None]", stop: tuple[str, ...]) -> Iterator[str]:
        ids: list[int] = []
        shown = ""
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            ids += [token for token in item if token not in self.encoder.stop_ids]
            text = self._decode(ids)
            cut = _cut(text, stop)
            # An unfinished character decodes to the replacement sign: wait for the rest of it.
            if not cut.endswith("\ufffd") and len(cut) > len(shown):
                yield cut[len(shown) :]
                shown = cut
            if cut != text:
                return

    def _prompt(self, messages: tuple[Message, ...]) -> Tensor:
        ids, images = self.encoder.prompt(messages)
        with torch.no_grad():
            return self.embed(ids, images)

    def _decode(self, ids: list[int]) -> str:
        return str(self.encoder.tokenizer.decode(ids, skip_special_tokens=True))


class _Pieces(BaseStreamer):
    """Hands every new token to a queue; the end is told by the thread itself."""

    def __init__(self, queue: "Queue[list[int] | BaseException | None]") -> None:
        self._queue = queue

    def put(self, value: Tensor) -> None:
        self._queue.put(value.reshape(-1).tolist())

    def end(self) -> None:
        """Nothing: the thread puts None when generation is over, finished or failed."""


def _cut(text: str, stop: tuple[str, ...]) -> str:
    for word in stop:
        text = text.split(word)[0]
    return text


def question(text: str, images: tuple[str, ...] = (), system: str = "") -> tuple[Message, ...]:
    """A one-turn conversation: images first, then the question."""
    asked = Message("user", (*(ImageRef(path) for path in images), text))
    return (Message("system", (system,)), asked) if system else (asked,)


def talk(speaker: Speaker, system: str, images: tuple[str, ...], sampling: Sampling, stream: bool) -> None:
    """The terminal: one line a question; RESET forgets, EXIT (or end of input) leaves."""
    print("Type a question and ENTER. RESET starts anew, EXIT leaves.")
    history: tuple[Message, ...] = ()
    while (text := _ask()) is not None:
        if text == "RESET":
            history = ()
            print("(history forgotten)")
            continue
        first = not history
        history += question(text, images if first else (), system if first else "")
        reply = _say(speaker, history, sampling, stream)
        history += (Message("assistant", (reply,)),)


def _ask() -> str | None:
    try:
        text = input("\n> ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return _ask() if not text else None if text == "EXIT" else text


def _say(speaker: Speaker, history: tuple[Message, ...], sampling: Sampling, stream: bool) -> str:
    if not stream:
        reply = speaker.answer(history, sampling)
        print(reply)
        return reply
    reply = ""
    for piece in speaker.stream(history, sampling):
        print(piece, end="", flush=True)
        reply += piece
    print()
    return reply
