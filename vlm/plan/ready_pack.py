"""The largest pack that a recipe with model.vlm allows, built without data: its own processor says what images take."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from llm.data.batch import collate
from llm.encoding.encoder import IGNORED, Sample
from llm.encoding.token_view import supervised_mask
from llm.errors import ConfigError
from vlm.plan.worst_pack import Pack, describe_batch, equal_lengths, longest_record
from vlm.ready.batch import ReadyBatch, UnitInputs, pack_positions
from vlm.ready.processor import ReadyProcessor, Size
from vlm.ready.ready_model import ReadyVlm, open_processor
from vlm.ready_config import ReadyRunConfig

SHAPES = ((1, 1), (4, 3), (3, 2), (2, 1), (3, 1))  # width to height; tiles of an image depend on it
SIDES = tuple(round(64 * 2 ** (step / 4)) for step in range(25))  # of the square with as many pixels: 64 to 4096
_SMALL: Size = (SIDES[0], SIDES[0])
SLOW_SIDE = 1024  # the largest where a processor has to make an image to say how many tokens it takes


@dataclass(frozen=True, slots=True)
class LargestImage:
    """The image with the most tokens that fits a record."""

    size: Size
    ids: NDArray[np.int32]  # its tokens, with those around its features


def ready_image_pack(config: ReadyRunConfig, vlm: ReadyVlm, targets: float) -> Pack:
    """A pack of as many images as the budgets allow, one a record, each with the most tokens that fit it.

    `targets`: share of the text tokens that have a loss. Raises ConfigError when no image fits a record.
    """
    budget, longest = config.train.pack_tokens, longest_record(config)
    image = largest_image(vlm.processor, longest - 1)
    if image is None:
        key = "train.pack_tokens" if budget < config.data.max_length else "data.max_length"
        found = len(image_ids(vlm.processor, _SMALL))
        raise ConfigError(
            f"{key}: {longest} leaves no room besides an image's tokens, {found} of a small one; raise it"
        )
    count = min(config.train.pack_images, budget // (len(image.ids) + 1), config.train.batch)
    tokens = min(budget, count * longest)
    word = _word(vlm.processor)
    samples = [_sample(length, image.ids, word, targets) for length in equal_lengths(tokens, count)]
    width, height = image.size
    blank = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    return _pack(vlm, samples, UnitInputs(vlm.processor.inputs([blank])))


def ready_text_pack(config: ReadyRunConfig, vlm: ReadyVlm, targets: float) -> Pack:
    """A full pack of text records of the largest allowed length."""
    longest = longest_record(config)
    tokens = min(config.train.pack_tokens, config.train.batch * longest)
    none, word = np.zeros(0, np.int32), _word(vlm.processor)
    samples = [_sample(length, none, word, targets) for length in equal_lengths(tokens, -(-tokens // longest))]
    return _pack(vlm, samples, None)


def smallest_image(config: ReadyRunConfig) -> int:
    """Tokens of a small image, with those around its features."""
    return len(image_ids(open_processor(config.model.llm), _SMALL))


def largest_image(processor: ReadyProcessor, most: int) -> LargestImage | None:
    """The image with the most tokens, at most `most`, among those of several shapes and sizes; None if none fits."""
    best: LargestImage | None = None
    for size in _sizes(SIDES[-1] if processor.counts[0] else SLOW_SIDE):
        ids = image_ids(processor, size)
        if len(ids) <= most and (best is None or len(ids) > len(best.ids)):
            best = LargestImage(size, ids)
    return best


def image_ids(processor: ReadyProcessor, size: Size) -> NDArray[np.int32]:
    """The tokens of one image of this width and height in a record."""
    [written] = processor.written([size])
    return np.array(processor.tokenizer(written, add_special_tokens=False)["input_ids"], np.int32)


def _word(processor: ReadyProcessor) -> int:
    """An ordinary token: others may be marks that a class looks for."""
    return int(processor.tokenizer("a", add_special_tokens=False)["input_ids"][-1])


def _sizes(largest: int) -> Iterator[Size]:
    """Width and height, by growing area."""
    for side in (side for side in SIDES if side <= largest):
        for across, down in SHAPES:
            scale = side / (across * down) ** 0.5
            yield max(32, round(across * scale)), max(32, round(down * scale))


def _pack(vlm: ReadyVlm, samples: list[Sample], unit: UnitInputs | None) -> Pack:
    """The samples as a batch; with a unit each of them has its image."""
    types = [vlm.token_types(torch.from_numpy(sample.ids), torch.tensor(supervised_mask(sample))) for sample in samples]
    asked = [each for each in types if each is not None]
    inputs = [[] if unit is None else [unit.inputs] for _ in samples]
    batch = ReadyBatch(
        text=collate(samples),
        positions=pack_positions(vlm, samples, types, inputs),
        token_types=torch.cat(asked)[None] if asked else None,
        units=() if unit is None else (unit,) * len(samples),
        order=tuple(() if unit is None else (number,) for number in range(len(samples))),
    )
    return Pack(describe_batch(batch, vlm.processor.row_id), batch, batch.text)


def _sample(length: int, image: NDArray[np.int32], word: int, targets: float) -> Sample:
    """A record of `length` tokens: those of an image, then `word`; of these the last share `targets` has a loss."""
    ids = np.full(length, word, np.int32)
    ids[: len(image)] = image
    labels = np.full(length, IGNORED, np.int32)
    labels[length - max(1, round((length - len(image)) * targets)) :] = 0
    return Sample(ids, labels)
