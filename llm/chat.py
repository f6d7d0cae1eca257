"""Talking to a model: one speaker for terminal, evaluation and probes, prompts built as in training."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from llm.conversation import ImageRef, Message
from llm.encode import Encoder
from llm.generate import Sampling, answering, generate
from llm.reply import Reply, cut

Embed = Callable[[list[int], tuple[ImageRef, ...]], Tensor]


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that answers conversations. `embed` turns prompt ids and their images into [T, hidden]."""

    model: PreTrainedModel
    text: PreTrainedModel  # the language model inside `model`, or `model` itself
    encoder: Encoder
    embed: Embed

    @property
    def context(self) -> int:
        """Tokens the model reads at most, prompt and answer together; a model without positions has no such end."""
        return int(self.text.config.to_dict().get("max_position_embeddings", 2**20))

    def answer(self, messages: tuple[Message, ...], sampling: Sampling) -> str:
        """One whole answer."""
        return self.answers([messages], sampling)[0]

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        """One answer each, generated together."""
        prompts = [self._prompt(messages) for messages in conversations]
        with answering(self.model, self.text):
            rows = generate(self.model, prompts, sampling, self.encoder.stop_ids)
        return [cut(self._decode(row), sampling.stop) for row in rows]

    def stream(self, messages: tuple[Message, ...], sampling: Sampling) -> Reply:
        """The answer's text as it grows, piece by piece. Closing it stops the generation."""
        prompt = self._prompt(messages)
        ends = self.encoder.stop_ids

        def run(streamer: BaseStreamer, stopped: Callable[[], bool]) -> None:
            with answering(self.model, self.text):
                generate(self.model, [prompt], sampling, ends, streamer, stopped)

        return Reply(run, self._decode, ends, sampling.stop, len(prompt))

    def _prompt(self, messages: tuple[Message, ...]) -> Tensor:
        ids, images = self.encoder.prompt(messages)
        with torch.no_grad():
            return self.embed(ids, images)

    def _decode(self, ids: list[int]) -> str:
        return str(self.encoder.tokenizer.decode(ids, skip_special_tokens=True))


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
