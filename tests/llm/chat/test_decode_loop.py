"""Answers decoded together are those of transformers' `generate` one by one: ids, draws, ends, and who leaves when."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, MistralConfig, MistralForCausalLM, PreTrainedModel

from llm.chat import decode_loop
from llm.chat.answer_row import AnswerRequest
from llm.chat.decode_loop import DecodeLoop
from llm.chat.sampling import Sampling
from llm.chat.token_stream import GenerationCancelled
from llm.decoding import model_steps
from llm.decoding.batch_check import why_alone
from llm.decoding.device_thread import DeviceThread
from llm.decoding.piece_size import PieceSize
from llm.decoding.prefix_cache import PrefixCache
from llm.formats.conversation import ImageRef

END = 7
LIMIT = 120.0  # seconds that a state is waited for
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture
def model(uneven_llama: PreTrainedModel) -> PreTrainedModel:
    return uneven_llama


class Reader:
    """Collects the tokens of an answer; it leaves after `leaves_after` of them, or when `leaves` says so."""

    def __init__(self, leaves_after: float = float("inf"), leaves: Callable[[], bool] = lambda: False) -> None:
        self.tokens: list[int] = []
        self.leaves_after, self.leaves = leaves_after, leaves
        self._begun = False

    def put(self, value: Tensor) -> None:
        if self._begun:
            self.tokens += value.tolist()
        self._begun = True

    def end(self) -> None:
        """Called by `generate` alone."""

    def left(self) -> bool:
        return len(self.tokens) >= self.leaves_after or self.leaves()


def loop_of(model: PreTrainedModel, room: int = 0) -> DecodeLoop:
    return DecodeLoop(model, nullcontext, DeviceThread(), PrefixCache(model, room))


def asking(
    model: PreTrainedModel, ids: list[int], sampling: Sampling, reader: Reader, ends: tuple[int, ...] = (END,)
) -> AnswerRequest:
    embeddings = model.get_input_embeddings()

    def embed(some: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        embeds: Tensor = embeddings(torch.tensor(some))
        return embeds

    return AnswerRequest(ids, (), embed, sampling, ends, reader, reader.left)


def one_by_one(model: Any, ids: list[int], sampling: Sampling, ends: tuple[int, ...] = (END,)) -> list[int]:
    """The reference: transformers' own loop over ids."""
    drawn = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    config = GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        repetition_penalty=sampling.repetition_penalty,
        do_sample=sampling.temperature > 0,
        eos_token_id=[*ends],
        pad_token_id=0,
        **(drawn if sampling.temperature > 0 else {}),
    )
    given = torch.tensor([ids])
    with torch.random.fork_rng():
        torch.manual_seed(sampling.seed)
        new = model.generate(given, attention_mask=torch.ones_like(given), generation_config=config)[0, len(ids) :]
    tokens: list[int] = new.tolist()
    return tokens[: next((place for place, token in enumerate(tokens) if token in ends), len(tokens))]


def random_prompts(count: int, longest: int = 40) -> list[list[int]]:
    chance = random.Random(5)
    return [[chance.randrange(8, 290) for _ in range(chance.randrange(1, longest))] for _ in range(count)]


def answers(loop: DecodeLoop, asked: list[AnswerRequest], at_once: int = 8) -> list[list[int]]:
    with ThreadPoolExecutor(at_once) as clients:
        return list(clients.map(loop.answer, asked))


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each step."""
    seen: list[int] = []

    def counted(model: PreTrainedModel, cache: Any, tokens: list[int]) -> Tensor:
        seen.append(len(tokens))
        return model_steps.step_logits(model, cache, tokens)

    monkeypatch.setattr(decode_loop, "step_logits", counted)
    return seen


# The same answers -----------------------------------------------------------------------------------------------------


def test_two_hundred_prompts_answered_together_are_those_answered_one_by_one(
    model: PreTrainedModel, widths: list[int]
) -> None:
    """Of 1 to 39 tokens, with answers of 1 to 24, eight clients at a time."""
    prompts = random_prompts(200)
    settings = [Sampling(max_new_tokens=1 + number % 24) for number in range(200)]
    asked = [asking(model, ids, one, Reader()) for ids, one in zip(prompts, settings, strict=True)]
    found = answers(loop_of(model), asked)
    expected = [one_by_one(model, ids, one) for ids, one in zip(prompts, settings, strict=True)]
    assert found == expected
    assert max(widths) == 8 and sum(widths) / len(widths) > 3, "they were decoded together"
    assert len({tuple(row) for row in expected}) > 100, "the model says different things"
    assert any(len(row) < one.max_new_tokens for row, one in zip(expected, settings, strict=True)), "some end early"


def test_remembered_beginnings_change_no_answer(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two system prompts, half of the questions asked twice: with draws, answers are as without memory."""
    pieces: list[int] = []
    read = model_steps.PromptReader.read

    def counted(reader: model_steps.PromptReader, tokens: int) -> Tensor | None:
        pieces.append(min(tokens, reader.left))
        return read(reader, tokens)

    monkeypatch.setattr(model_steps.PromptReader, "read", counted)
    systems, questions = ([*range(20, 60)], [*range(20, 40), *range(70, 95)]), random_prompts(40, 12)
    prompts = [systems[number % 2] + questions[number % 30] for number in range(40)]
    settings = [Sampling(max_new_tokens=10, temperature=number % 3 * 0.7, seed=number) for number in range(40)]
    asked = [asking(model, ids, one, Reader()) for ids, one in zip(prompts, settings, strict=True)]
    found = answers(loop_of(model, room=2**24), asked)
    assert found == [one_by_one(model, ids, one) for ids, one in zip(prompts, settings, strict=True)]
    assert sum(pieces) < sum(map(len, prompts)) / 2


MIXED = [
    Sampling(max_new_tokens=14, temperature=1.7, seed=5),
    Sampling(max_new_tokens=9, repetition_penalty=1.6),
    Sampling(max_new_tokens=14, temperature=0.6, top_k=9, top_p=0.7, seed=1),
    Sampling(max_new_tokens=11),
    Sampling(max_new_tokens=14, temperature=1.0, top_k=30, top_p=0.9, repetition_penalty=1.4, seed=2),
    Sampling(max_new_tokens=14, temperature=1.7, seed=6),
]


def test_draws_and_penalties_are_each_answers_own(model: PreTrainedModel) -> None:
    """With neighbours of other settings, and alone: by the answer's seed in both."""
    prompts = random_prompts(24)
    settings = [MIXED[number % len(MIXED)] for number in range(24)]
    expected = [one_by_one(model, ids, one) for ids, one in zip(prompts, settings, strict=True)]
    asked = [asking(model, ids, one, Reader()) for ids, one in zip(prompts, settings, strict=True)]
    assert answers(loop_of(model), asked) == expected
    alone = [asking(model, ids, one, Reader()) for ids, one in zip(prompts, settings, strict=True)]
    assert answers(loop_of(model), alone, at_once=1) == expected
    other = one_by_one(model, prompts[0], Sampling(max_new_tokens=14, temperature=1.7, seed=6))
    assert other != expected[0], "the seed counts"


def test_a_reader_gets_the_prompt_once_and_each_token_with_the_end_mark(model: PreTrainedModel) -> None:
    ids = random_prompts(1)[0]
    tokens = one_by_one(model, ids, GREEDY, ends=(1,))
    end = tokens[2]
    assert end not in tokens[:2]
    reader = Reader()
    assert loop_of(model).answer(asking(model, ids, GREEDY, reader, ends=(1, end))) == tokens[:2]
    assert reader.tokens == tokens[:3]


# Who comes and goes ---------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_frees_its_row_and_changes_no_other(model: PreTrainedModel, widths: list[int]) -> None:
    prompts = random_prompts(4)
    long = Sampling(max_new_tokens=60)
    readers = [Reader(), Reader(leaves_after=5), Reader(), Reader(leaves_after=1)]
    asked = [asking(model, ids, long, reader, ()) for ids, reader in zip(prompts, readers, strict=True)]
    found = answers(loop_of(model), asked)
    expected = [one_by_one(model, ids, long, (1,)) for ids in prompts]
    assert [found[0], found[2]] == [expected[0], expected[2]]
    assert (found[1], found[3]) == (expected[1][:5], expected[3][:1]), "the token in progress is the last"
    assert sum(widths) == 59 + 59 + 4


def test_one_that_left_before_its_prompt_was_read_gets_nothing(model: PreTrainedModel) -> None:
    with pytest.raises(GenerationCancelled):
        loop_of(model).answer(asking(model, [9, 8], GREEDY, Reader(leaves_after=0)))


def test_a_short_question_is_answered_during_a_long_answer_and_a_long_prompt(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long answer ends only when the short one has; the long prompt waits for its last piece until then."""
    monkeypatch.setattr(PieceSize, "tokens", lambda *_: 4)
    answered, loop = threading.Event(), loop_of(model)
    long, short, prompt = Reader(leaves=answered.is_set), Reader(), Reader()
    read = model_steps.PromptReader.read

    def piece_by_piece(reader: model_steps.PromptReader, tokens: int) -> Tensor | None:
        logits = read(reader, tokens)
        if logits is not None and reader.cache.get_seq_length() > 150:
            assert answered.is_set(), "the short question waited for the long prompt"
        return logits

    monkeypatch.setattr(model_steps.PromptReader, "read", piece_by_piece)
    with ThreadPoolExecutor(3) as clients:
        endless = clients.submit(loop.answer, asking(model, [9, 8], Sampling(max_new_tokens=100_000), long, ()))
        until(lambda: len(long.tokens) > 3)
        reading = clients.submit(loop.answer, asking(model, [9] * 200, GREEDY, prompt))
        assert loop.answer(asking(model, [11, 12], GREEDY, short)) == one_by_one(model, [11, 12], GREEDY)
        answered.set()
        assert reading.result(LIMIT) == one_by_one(model, [9] * 200, GREEDY)
        assert len(endless.result(LIMIT)) > len(short.tokens)


def until(done: Callable[[], bool]) -> None:
    last = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < last, "timed out"
        time.sleep(0.001)


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_an_error_of_one_request_is_its_own(model: PreTrainedModel) -> None:
    def unreadable(_: list[int], __: tuple[ImageRef, ...]) -> Tensor:
        raise OSError("no such image")

    good = asking(model, [9, 8, 10], GREEDY, Reader())
    bad = AnswerRequest([9], (), unreadable, GREEDY, (END,), Reader(), lambda: False)
    loop = loop_of(model)
    with ThreadPoolExecutor(3) as clients:
        first, second = clients.submit(loop.answer, good), clients.submit(loop.answer, bad)
        with pytest.raises(OSError, match="no such image"):
            second.result(LIMIT)
        assert first.result(LIMIT) == one_by_one(model, [9, 8, 10], GREEDY)


def test_logits_that_are_not_numbers_end_the_draw_of_their_row_alone(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw raises where greedy decoding would go on."""

    def spoiled(model: PreTrainedModel, cache: Any, tokens: list[int]) -> Tensor:
        logits = model_steps.step_logits(model, cache, tokens)
        for number, row in enumerate(loop._rows):
            if row.request.sampling.temperature:
                logits[number] = float("nan")
        return logits

    loop = loop_of(model)
    monkeypatch.setattr(decode_loop, "step_logits", spoiled)
    with ThreadPoolExecutor(2) as clients:
        greedy = clients.submit(loop.answer, asking(model, [9, 8], Sampling(max_new_tokens=40), Reader(), ()))
        drawn = clients.submit(loop.answer, asking(model, [9, 8], Sampling(temperature=1.0), Reader(), ()))
        with pytest.raises(RuntimeError):
            drawn.result(LIMIT)
        assert greedy.result(LIMIT) == one_by_one(model, [9, 8], Sampling(max_new_tokens=40), (1,))


def test_a_failed_step_ends_every_row_with_its_error_and_the_loop_goes_on(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [True]

    def fails(model: PreTrainedModel, cache: Any, tokens: list[int]) -> Tensor:
        if len(tokens) == 2 and failing.pop():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model_steps.step_logits(model, cache, tokens)

    monkeypatch.setattr(decode_loop, "step_logits", fails)
    loop = loop_of(model)
    with ThreadPoolExecutor(2) as clients:
        asked = [asking(model, [9, 8], Sampling(max_new_tokens=100_000), Reader(), ()) for _ in range(2)]
        for answer in [clients.submit(loop.answer, one) for one in asked]:
            with pytest.raises(torch.OutOfMemoryError):
                answer.result(LIMIT)
    assert loop.answer(asking(model, [9, 8], GREEDY, Reader())) == one_by_one(model, [9, 8], GREEDY)


# Which models ---------------------------------------------------------------------------------------------------------


def mistral(window: int | None) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MistralForCausalLM(
            MistralConfig(
                vocab_size=300,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                sliding_window=window,
            )
        ).eval()


def test_models_with_a_sliding_window_answer_one_at_a_time(widths: list[int]) -> None:
    windowed = mistral(8)
    assert why_alone(windowed) == "its cache has layers of DynamicSlidingWindowLayer"
    assert why_alone(mistral(None)) == ""
    prompts = random_prompts(6, 20)
    asked = [asking(windowed, ids, GREEDY, Reader()) for ids in prompts]
    assert answers(loop_of(windowed), asked) == [one_by_one(windowed, ids, GREEDY) for ids in prompts]
    assert widths == []


def test_a_model_that_ignores_positions_or_mask_is_found_by_trying_it(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_alone(model) == ""
    forward = model.forward
    for ignored in ("position_ids", "attention_mask"):

        def careless(
            input_ids: Any = None,
            position_ids: Any = None,
            attention_mask: Any = None,
            name: str = ignored,
            **more: Any,
        ) -> Any:
            given = {"input_ids": input_ids, "position_ids": position_ids, "attention_mask": attention_mask}
            return forward(**{key: value for key, value in given.items() if key != name}, **more)

        monkeypatch.setattr(model, "forward", careless)
        assert "together give other logits" in why_alone(model)


def test_a_model_that_cannot_be_tried_answers_one_at_a_time(
    model: PreTrainedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")

    def unknown(_: PreTrainedModel) -> str:
        raise TypeError("no such argument")

    monkeypatch.setattr(decode_loop, "why_alone", unknown)
    loop = loop_of(model)
    assert loop.answer(asking(model, [9, 8], GREEDY, Reader())) == one_by_one(model, [9, 8], GREEDY)
    with pytest.raises(GenerationCancelled):
        loop.answer(asking(model, [9, 8], GREEDY, Reader(leaves_after=0)))
    said = "this model answers one request at a time: TypeError: no such argument"
    assert caplog.text.count(said) == 1, "at the first answer"
