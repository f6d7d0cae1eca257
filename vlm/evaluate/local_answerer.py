"""A model of this process answers: choices by the log-probabilities of their first tokens, texts by greedy decoding."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
from numpy.typing import NDArray

from llm.chat import next_token
from llm.chat.chat_model import ChatModel
from llm.chat.next_token import NextToken, NextTokenReader
from llm.chat.sampling import Sampling
from llm.config.schema import Lean
from llm.errors import DataError
from vlm.evaluate.answerer import Answer, Prompt
from vlm.evaluate.choice_tokens import ChoiceTokens, choice_tokens

TOGETHER = 8  # texts that are decoded together


class LocalAnswerer:
    """Prompts that begin alike share what they have in common; `generate`: choices are decoded as texts too.

    `trains`: the weights change between calls. Nothing is remembered then, and this thread decodes batches itself.
    `lean`: as in `NextToken`.
    """

    def __init__(
        self,
        name: str,
        chat: ChatModel,
        generate: bool = False,
        together: int = TOGETHER,
        trains: bool = False,
        lean: Lean = "auto",
    ) -> None:
        self._name, self._chat = name, chat if trains else chat.remembering()
        self._generate, self._together, self._trains = generate, together, trains
        self._next = _reader(chat, lean)

    @property
    def name(self) -> str:
        """The model's name in reports."""
        return self._name

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Answer]]:
        """As `Answerer.answers`. DataError for images that the model does not see."""
        if any(self._chat.cannot_see(prompt.messages) for prompt in prompts):
            raise DataError(f"{self._name} is a text model, and the questions have images. Name a vision model")
        texts: list[int] = []
        by_choices: dict[tuple[str, ...], list[int]] = {}
        for number, prompt in enumerate(prompts):
            by_choices.setdefault(() if self._generate else prompt.choices, []).append(number)
        compared: list[tuple[list[int], ChoiceTokens]] = []
        for choices, numbers in by_choices.items():
            found = choice_tokens(self._chat.encoder, choices) if choices else None
            if found is None:
                texts += numbers
            else:
                compared.append((numbers, found))
        for numbers, tokens in compared:
            yield from self._choose(prompts, numbers, tokens)
        yield from self._write_batches(prompts, texts) if self._trains else self._write(prompts, texts)

    def _choose(
        self, prompts: Sequence[Prompt], numbers: list[int], tokens: ChoiceTokens
    ) -> Iterator[tuple[int, Answer]]:
        asked: list[next_token.Prompt] = []
        fitting: list[int] = []
        for number in numbers:
            ids, images = self._chat.encoder.prompt(prompts[number].messages)
            if len(ids) + len(tokens.lead) >= self._chat.context:
                yield number, _too_long(len(ids), self._chat.context)
                continue
            asked.append(([*ids, *tokens.lead], images))
            fitting.append(number)
        columns = [(choice, token) for choice, begins in tokens.tokens.items() for token in begins]
        for read, found in self._next.logprobs(asked, [token for _, token in columns]):
            for place, row in zip(read, found, strict=True):
                scores = _by_choice([choice for choice, _ in columns], row)
                yield fitting[place], Answer(max(scores, key=scores.__getitem__), scores)

    def _write(self, prompts: Sequence[Prompt], numbers: list[int]) -> Iterator[tuple[int, Answer]]:
        with ThreadPoolExecutor(self._together) as pool:
            waiting = {pool.submit(self._text, prompts[number]): number for number in numbers}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _write_batches(self, prompts: Sequence[Prompt], numbers: list[int]) -> Iterator[tuple[int, Answer]]:
        """Prompts of one length at a time, the longest last: a batch is padded to its longest one."""
        fitting: dict[int, list[tuple[int, int]]] = {}
        for number in numbers:
            length = self._length(prompts[number])
            if length + prompts[number].new_tokens > self._chat.context:
                yield number, _too_long(length, self._chat.context)
            else:
                fitting.setdefault(prompts[number].new_tokens, []).append((length, number))
        for new_tokens, found in fitting.items():
            ordered = [number for _, number in sorted(found)]
            for start in range(0, len(ordered), self._together):
                batch = ordered[start : start + self._together]
                messages = [prompts[number].messages for number in batch]
                texts = self._chat.answers(messages, Sampling(max_new_tokens=new_tokens))
                yield from ((number, Answer(text)) for number, text in zip(batch, texts, strict=True))

    def _length(self, prompt: Prompt) -> int:
        return len(self._chat.encoder.prompt(prompt.messages)[0])

    def _text(self, prompt: Prompt) -> Answer:
        length = self._length(prompt)
        if length + prompt.new_tokens > self._chat.context:
            return _too_long(length, self._chat.context)
        stream = self._chat.stream(prompt.messages, Sampling(max_new_tokens=prompt.new_tokens))
        return Answer("".join(stream))


def _reader(chat: ChatModel, lean: Lean) -> NextTokenReader:
    if not chat.sees_images:
        return NextToken(chat, lean)
    from vlm.ready.chat import ReadyChatModel  # here: a text model is evaluated without vision code
    from vlm.ready.next_token import ReadyNextToken

    return ReadyNextToken(chat, lean) if isinstance(chat, ReadyChatModel) else NextToken(chat, lean)


def _by_choice(choices: Sequence[str], logprobs: NDArray[np.float32]) -> Mapping[str, float]:
    """The log-probability of each choice: of all tokens that it may begin with together."""
    found: dict[str, float] = {}
    for choice, value in zip(choices, logprobs.tolist(), strict=True):
        found[choice] = float(np.logaddexp(found[choice], value)) if choice in found else value
    return found


def _too_long(tokens: int, context: int) -> Answer:
    return Answer("", note=f"a prompt of {tokens:,} tokens does not fit the model's context of {context:,}")
