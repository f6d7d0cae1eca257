"""An answer that is being decoded: its prompt, its tokens so far, and how the next one is chosen."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llm.chat.sampling import LEAST_TEMPERATURE, Sampling
from llm.chat.token_stream import Stopped, TokenSink
from llm.formats.conversation import ImageRef

Embed = Callable[[list[int], tuple[ImageRef, ...]], Tensor]  # ids and images -> [T, hidden]


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What an answer is made of. `embed` embeds ids and their images; sink and `stopped` are those of its reader.

    `image_id` is the token at the places of images, None for a model without.
    """

    ids: list[int]
    images: tuple[ImageRef, ...]
    embed: Embed
    sampling: Sampling
    stop_ids: tuple[int, ...]
    sink: TokenSink
    stopped: Stopped
    image_id: int | None = None


class TokenChoice:
    """Chooses the tokens of one answer by its own settings and seed, in the order of transformers' `generate`.

    A draw depends on the answer's own random numbers alone, so what else is decoded with it changes nothing.
    """

    def __init__(self, sampling: Sampling, ids: list[int], device: torch.device) -> None:
        """`ids` are the prompt's, which the repetition penalty counts."""
        self._steps = LogitsProcessorList()
        self._seen = torch.zeros(1, 0, dtype=torch.long, device=device)  # counted by the penalty, where there is one
        if sampling.repetition_penalty != 1.0:
            self._steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
            self._seen = torch.tensor([ids], device=device)
        self._draws: torch.Generator | None = None
        if sampling.temperature >= LEAST_TEMPERATURE:
            self._draws = torch.Generator(device).manual_seed(sampling.seed)
            self._add_warpers(sampling)

    def _add_warpers(self, sampling: Sampling) -> None:
        if sampling.temperature != 1.0:
            self._steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k:
            self._steps.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            self._steps.append(TopPLogitsWarper(sampling.top_p))

    def choose(self, logits: Tensor, likeliest: int) -> int:
        """The next token by fp32 logits [vocabulary], of which `likeliest` is the greatest."""
        if self._draws is None and not self._steps:
            return likeliest
        scores = self._steps(cast(torch.LongTensor, self._seen), cast(torch.FloatTensor, logits[None]))
        if self._draws is None:
            token = int(scores[0].argmax())
        else:
            token = int(torch.multinomial(scores.softmax(-1), 1, generator=self._draws))
        if self._seen.shape[1]:
            self._seen = torch.cat([self._seen, self._seen.new_tensor([[token]])], dim=1)
        return token


@dataclass(eq=False, slots=True)
class AnswerRow:
    """The state of an answer while it is decoded. `ended` has its ids without the end mark, or its exception."""

    request: AnswerRequest
    ended: Future[list[int]] = field(default_factory=Future)
    new: list[int] = field(default_factory=list)
    choice: TokenChoice | None = None
    error: BaseException | None = None

    def begin(self, device: torch.device) -> None:
        """Begin to choose, on the device of the logits."""
        self.choice = TokenChoice(self.request.sampling, self.request.ids, device)
        self.request.sink.put(torch.tensor([self.request.ids]))

    def extend(self, logits: Tensor, likeliest: int) -> None:
        """Choose the next token. An error of the choice, such as logits that are not numbers, ends this row alone."""
        assert self.choice is not None
        try:
            token = self.choice.choose(logits, likeliest)
        except RuntimeError as error:
            self.error = error
            return
        self.new.append(token)
        self.request.sink.put(torch.tensor([token]))

    @property
    def complete(self) -> bool:
        """Whether it ends here: at an end mark, the token limit or an error."""
        long = len(self.new) >= self.request.sampling.max_new_tokens
        return self.error is not None or long or self.new[-1] in self.request.stop_ids

    def end(self) -> None:
        """Give the answer, or what went wrong, to the thread that waits for it."""
        if self.error is not None:
            self.ended.set_exception(self.error)
            return
        ends = bool(self.new) and self.new[-1] in self.request.stop_ids
        self.ended.set_result(self.new[:-1] if ends else self.new)
