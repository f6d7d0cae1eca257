"""Prompts that begin as earlier ones are read from there on: the same logits, images by content, bounded memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from llm.decoding.model_steps import PromptReader
from llm.decoding.prefix_cache import SHORTEST, PrefixCache
from llm.formats.conversation import ImageRef

IMAGE = 50
SYSTEM = [*range(100, 130)]  # longer than SHORTEST
RED, BLUE = ImageRef(data=b"red"), ImageRef(data=b"blue")
SEEN = [IMAGE] * 4  # an image is four tokens
ROOM = 2**24


@pytest.fixture
def model(uneven_llama: PreTrainedModel) -> PreTrainedModel:
    return uneven_llama


@dataclass
class Reading:
    """Reads prompts with a cache; `read` has the tokens that each took."""

    model: Any
    prefixes: PrefixCache
    read: list[int]

    def ask(self, ids: list[int], images: tuple[ImageRef, ...] = ()) -> Tensor:
        prefix = self.prefixes.find(ids, images)
        rest, shown = ids[prefix.length :], images[prefix.images :]
        logits, cache = _read(self.model, rest, shown, prefix.cache)
        self.prefixes.store(ids, images, cache)
        self.read.append(len(rest))
        return logits


def _read(model: Any, ids: list[int], images: tuple[ImageRef, ...], cache: DynamicCache) -> tuple[Tensor, DynamicCache]:
    with torch.no_grad():
        embeds = model.get_input_embeddings()(torch.tensor(ids))
        for number, image in enumerate(images):  # what a tower would put there
            place = [place for place, token in enumerate(ids) if token == IMAGE][4 * number]
            embeds[place : place + 4] = float(len(image.data or image.path)) / 3
    reader = PromptReader(model, cache, len(ids))
    reader.give(embeds)
    logits = reader.read(len(ids))
    assert logits is not None
    return logits, reader.cache


@pytest.fixture
def reading(model: PreTrainedModel) -> Reading:
    return Reading(model, PrefixCache(model, ROOM, IMAGE), [])


def same(reading: Reading, ids: list[int], images: tuple[ImageRef, ...] = ()) -> None:
    """The logits are those of the prompt read alone from its beginning."""
    alone, _ = _read(reading.model, ids, images, DynamicCache(config=reading.model.config))
    torch.testing.assert_close(reading.ask(ids, images), alone, atol=1e-4, rtol=1e-4)


def test_what_two_prompts_begin_with_is_read_once(reading: Reading) -> None:
    same(reading, [*SYSTEM, 200, 201, 202])
    same(reading, [*SYSTEM, 210, 211])
    same(reading, [*SYSTEM, 210, 211])
    same(reading, [*SYSTEM, 200, 201, 202, 220, 230, 231])
    assert reading.read == [33, 2, 1, 3], "a repeated prompt's last token gives the logits"
    same(reading, [99, *SYSTEM, 200])
    same(reading, SYSTEM[: SHORTEST - 1])
    assert reading.read[4:] == [32, SHORTEST - 1]


def test_images_count_by_what_they_show(reading: Reading) -> None:
    asked = [*SYSTEM, *SEEN, *SEEN, 200, 201]
    same(reading, asked, (RED, BLUE))
    same(reading, [*asked[:-1], 205], (RED, BLUE))
    same(reading, asked, (RED, RED))
    same(reading, asked, (BLUE, BLUE))
    assert reading.read == [40, 1, 6, 10], "read from the image that differs"
    one = [*SYSTEM, *SEEN, 300, *SEEN, 301]
    same(reading, one, (RED, BLUE))
    assert reading.read[4] == 6, "the second image begins elsewhere"
    same(reading, [*SYSTEM, 300, 301])
    assert reading.read[5] == 2


def test_a_file_that_changed_is_another_image(reading: Reading, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"1")
    image, asked = ImageRef(str(file)), [*SYSTEM, *SEEN, 200]
    same(reading, asked, (image,))
    same(reading, asked, (image,))
    file.write_bytes(b"22")
    same(reading, asked, (image,))
    file.unlink()
    same(reading, asked, (image,))
    assert reading.read == [35, 1, 5, 5]


def test_memory_is_bounded_and_the_least_recently_used_goes_first(model: PreTrainedModel) -> None:
    prompts = [[number] * 20 for number in (60, 61, 62)]
    sized = Reading(model, PrefixCache(model, ROOM), [])
    sized.ask(prompts[0])
    each = sized.prefixes.bytes
    assert each == 2 * 2 * 2 * 16 * 20 * 4, "two layers, keys and values, two heads of 16, 20 tokens in fp32"
    reading = Reading(model, PrefixCache(model, 2 * each), [])
    for number in (0, 1, 0, 2, 0, 1):
        reading.ask(prompts[number])
        assert reading.prefixes.bytes <= 2 * each
    assert reading.read == [20, 20, 1, 20, 1, 20]
    nothing = Reading(model, PrefixCache(model, 0), [])
    nothing.ask(prompts[0])
    nothing.ask(prompts[0])
    assert nothing.read == [20, 20] and nothing.prefixes.bytes == 0
    small = Reading(model, PrefixCache(model, each - 1), [])
    small.ask(prompts[0])
    assert small.prefixes.bytes == 0, "one that is larger than all the room is not stored"
