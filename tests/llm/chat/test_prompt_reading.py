"""Prompts are read in bounded pieces between the steps of other answers, and their images are embedded one by one."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm.chat import decode_loop
from llm.chat.answer_row import AnswerRequest
from llm.chat.generation import Prompt, generate
from llm.chat.prompt_reading import parts_of_prompt
from llm.chat.sampling import Sampling
from llm.decoding import model_steps, piece_size
from llm.decoding.piece_size import ALONE, LEAST, MOST, PieceSize
from llm.decoding.prefix_cache import PrefixCache
from llm.formats.conversation import ImageRef
from tests.llm.chat.test_decode_loop import (
    GREEDY,
    LIMIT,
    Reader,
    answers,
    asking,
    loop_of,
    one_by_one,
    random_prompts,
    until,
)

IMAGE = 5  # the token at an image's places
EACH = 6  # places of an image
END = 7


@pytest.fixture
def model(uneven_llama: PreTrainedModel) -> PreTrainedModel:
    return uneven_llama


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens of each piece of a prompt; set PieceSize.tokens for their size."""
    seen: list[int] = []
    read = model_steps.PromptReader.read

    def counted(reader: model_steps.PromptReader, tokens: int) -> Tensor | None:
        seen.append(min(tokens, reader.left))
        return read(reader, tokens)

    monkeypatch.setattr(model_steps.PromptReader, "read", counted)
    return seen


def test_a_prompt_cut_anywhere_gets_the_same_answer(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, pieces: list[int]
) -> None:
    """Also where a remembered prompt is its beginning, and six together."""
    prompts = [*random_prompts(4), [*range(20, 60)], [*range(20, 50), 9, 8, 10, 11, 12, 13, 14]]
    expected = [one_by_one(model, ids, GREEDY) for ids in prompts]
    asked = [asking(model, ids, GREEDY, Reader()) for ids in prompts]
    loop = loop_of(model)
    loop.answer(asking(model, [9], GREEDY, Reader()))  # the model is tried at the first
    for piece in (1, 3, 7, 39):
        monkeypatch.setattr(PieceSize, "tokens", lambda *_, piece=piece: piece)
        monkeypatch.setattr(loop, "_prefixes", PrefixCache(model, 2**24))
        pieces.clear()
        assert answers(loop, asked, at_once=1) == expected, piece
        assert max(pieces) == piece
        assert sum(pieces) == sum(map(len, prompts)) - 30, "the last one begins as the one before"
        monkeypatch.setattr(loop, "_prefixes", PrefixCache(model, 0))
        assert answers(loop, asked) == expected, piece


def test_between_two_steps_one_piece_of_one_prompt_is_read(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three prompts of many pieces arrive during an answer, which gets a token after each piece of any of them."""
    monkeypatch.setattr(PieceSize, "tokens", lambda *_: 4)
    happened: list[str] = []
    read, step = model_steps.PromptReader.read, model_steps.step_logits

    def reads(reader: model_steps.PromptReader, tokens: int) -> Tensor | None:
        happened.append(f"prompt {id(reader)}")
        return read(reader, tokens)

    def steps(model: PreTrainedModel, cache: Any, tokens: list[int]) -> Tensor:
        happened.append("step")
        return step(model, cache, tokens)

    loop, arrived = loop_of(model), threading.Event()
    loop.answer(asking(model, [9], GREEDY, Reader()))  # the model is tried at the first
    monkeypatch.setattr(model_steps.PromptReader, "read", reads)
    monkeypatch.setattr(decode_loop, "step_logits", steps)
    stream = Reader(leaves=arrived.is_set)
    prompts = [[token] * 60 for token in (9, 10, 11)]
    with ThreadPoolExecutor(4) as clients:
        endless = clients.submit(loop.answer, asking(model, [9, 8], Sampling(max_new_tokens=100_000), stream, ()))
        until(lambda: len(stream.tokens) > 3)
        asked = [clients.submit(loop.answer, asking(model, ids, GREEDY, Reader())) for ids in prompts]
        found = [one.result(LIMIT) for one in asked]
        arrived.set()
        endless.result(LIMIT)
    assert found == [one_by_one(model, ids, GREEDY) for ids in prompts]
    pieces = [place for place, what in enumerate(happened) if what != "step"]
    assert len(pieces) == 1 + 3 * 15
    assert all(later - earlier > 1 for earlier, later in pairwise(pieces)), "a step after each piece"
    turns = [happened[place] for place in pieces[1:]]
    assert sum(one != two for one, two in pairwise(turns)) > len(turns) / 2, "prompts take turns"


# Images ---------------------------------------------------------------------------------------------------------------


class Tower:
    """Embeds prompts with images, and notes the images of each call in `happened`."""

    def __init__(self, model: PreTrainedModel, happened: list[str]) -> None:
        self._embeddings, self._happened = model.get_input_embeddings(), happened

    def __call__(self, ids: list[int], images: tuple[ImageRef, ...]) -> Tensor:
        embeds: Tensor = self._embeddings(torch.tensor(ids)).clone()
        if images:
            self._happened.append(f"{len(images)} images")
            seen = [torch.randn(EACH, embeds.shape[1], generator=torch.Generator().manual_seed(len(image.data or b"")))
                    for image in images]  # fmt: skip
            embeds[torch.tensor(ids) == IMAGE] = torch.cat(seen)
        return embeds


def shown(chance: random.Random, images: int) -> list[int]:
    """A prompt of text, images and text."""
    ids = [chance.randrange(8, 290) for _ in range(chance.randrange(1, 9))]
    for _ in range(images):
        ids += [IMAGE] * EACH + [chance.randrange(8, 290) for _ in range(chance.randrange(4))]
    return [*ids, 9]


def test_images_that_span_pieces_are_seen_as_in_one_batch(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts with 1 to 3 images, together, and with what a prompt begins with remembered."""
    chance, tower = random.Random(3), Tower(model, [])
    prompts = [(shown(chance, 1 + n % 3), tuple(ImageRef(data=b"x" * (n + k + 1)) for k in range(1 + n % 3)))
               for n in range(3)]  # fmt: skip
    prompts += [([*ids, 30 + n], images) for n, (ids, images) in enumerate(prompts)]
    asked = [AnswerRequest(ids, images, tower, GREEDY, (END,), Reader(), lambda: False, IMAGE)
             for ids, images in prompts]  # fmt: skip
    with torch.no_grad():
        alone = [Prompt(ids, tower(ids, images)) for ids, images in prompts]
    expected = [generate(model, [prompt], GREEDY, (END,))[0] for prompt in alone]
    assert len({tuple(answer) for answer in expected}) > 3
    loop = loop_of(model)
    for piece in (1, 4, 7, 100):
        monkeypatch.setattr(PieceSize, "tokens", lambda *_, piece=piece: piece)
        monkeypatch.setattr(loop, "_prefixes", PrefixCache(model, 0, IMAGE))
        assert answers(loop, asked, at_once=6) == expected, piece
        monkeypatch.setattr(loop, "_prefixes", PrefixCache(model, 2**24, IMAGE))
        assert answers(loop, asked, at_once=1) == expected, piece


def test_between_two_steps_one_image_is_embedded(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    read, step = model_steps.PromptReader.read, model_steps.step_logits

    def reads(reader: model_steps.PromptReader, tokens: int) -> Tensor | None:
        happened.append("piece")
        return read(reader, tokens)

    def steps(model: PreTrainedModel, cache: Any, tokens: list[int]) -> Tensor:
        happened.append("step")
        return step(model, cache, tokens)

    monkeypatch.setattr(model_steps.PromptReader, "read", reads)
    monkeypatch.setattr(decode_loop, "step_logits", steps)
    loop, answered = loop_of(model), threading.Event()
    ids = shown(random.Random(1), 3)
    images = tuple(ImageRef(data=b"x" * (n + 1)) for n in range(3))
    stream = Reader(leaves=answered.is_set)
    with ThreadPoolExecutor(2) as clients:
        endless = clients.submit(loop.answer, asking(model, [9, 8], Sampling(max_new_tokens=100_000), stream, ()))
        until(lambda: len(stream.tokens) > 3)
        happened.clear()
        tower = Tower(model, happened)
        loop.answer(AnswerRequest(ids, images, tower, GREEDY, (END,), Reader(), lambda: False, IMAGE))
        answered.set()
        endless.result(LIMIT)
    work = [(place, what) for place, what in enumerate(happened) if what != "step"]
    assert [what for _, what in work] == ["1 images"] * 3 + ["piece"]
    assert all(later[0] - earlier[0] > 1 for earlier, later in pairwise(work)), "a step after each"


def test_prompts_are_cut_after_their_images() -> None:
    red, blue = ImageRef(data=b"red"), ImageRef(data=b"blue")
    ids = [1, IMAGE, IMAGE, 2, IMAGE, 9, IMAGE, 3]  # the places of an image need not be neighbours
    assert parts_of_prompt(ids, (red, blue), IMAGE) == [(ids[:3], (red,)), (ids[3:7], (blue,)), (ids[7:], ())]
    assert parts_of_prompt(ids[:7], (red, blue), IMAGE) == [(ids[:3], (red,)), (ids[3:7], (blue,))]
    assert parts_of_prompt(ids, (red,), IMAGE) == [(ids, (red,))]
    assert parts_of_prompt(ids, (), None) == [(ids, ())]
    uneven = [1, IMAGE, IMAGE, IMAGE]
    assert parts_of_prompt(uneven, (red, blue), IMAGE) == [(uneven, (red, blue))]


# The size of pieces ---------------------------------------------------------------------------------------------------


def test_pieces_fit_the_time_that_answers_may_wait() -> None:
    size = PieceSize()
    assert (size.tokens(True), size.tokens(False)) == (LEAST, ALONE)
    size.measured(64, piece_size.SECONDS * 64 / 200)  # 200 tokens would fit
    assert size.tokens(True) == 192, "a multiple of 32"
    size.measured(192, piece_size.SECONDS * 1.5)
    assert size.tokens(True) == 128
    size.measured(10, 100.0)
    assert size.tokens(True) == 128, "a few tokens say nothing"
    size.measured(128, 100.0)
    assert size.tokens(True) == LEAST
    size.measured(64, 0.0)
    assert size.tokens(True) == size.tokens(False) == MOST
