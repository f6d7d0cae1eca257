"""The largest pack that a recipe allows, built without data."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError
from llm.prefer.answers import SIDES, AnswerBatch
from vlm.model.batch import VlmBatch
from vlm.vision.towers import Tower

AnyPack = PackedBatch | VlmBatch


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack without content: its description, its batch, and the batch's text (in a text run the batch itself)."""

    description: str
    batch: AnyPack | AnswerBatch[PackedBatch]
    text: PackedBatch


def packs_a_step(config: RunConfig) -> int:
    """Packs of an optimizer step whose records all have the largest allowed length."""
    return max(1, -(-config.train.batch * longest_record(config) // config.train.pack_tokens))


def longest_record(config: RunConfig) -> int:
    """Tokens of the longest record that a pack can hold."""
    return min(config.data.max_length, config.train.pack_tokens)


def text_pack(config: RunConfig, targets: float, most: int = 0) -> Pack:
    """A full pack of text records of the largest allowed length, or of at most `most` tokens if that is not 0.

    `targets`: share of the tokens that have a loss.
    """
    length = min(longest_record(config), most or longest_record(config))
    tokens = min(config.train.pack_tokens, config.train.batch * length)
    count = -(-tokens // length)
    text = collate([_sample(length, 0, targets) for length in _equal_lengths(tokens, count)])
    return Pack(describe_batch(text), text, text)


def image_pack(config: RunConfig, tower: Tower, targets: float) -> Pack:
    """A pack of as many images as the budgets allow, one per record, filled up with text.

    `targets`: share of the text tokens that have a loss. Raises ConfigError when the pack cannot hold one image.
    """
    budget = config.train.pack_tokens
    longest = longest_record(config)
    if longest <= tower.image_tokens:
        key, found = ("train.pack_tokens", budget) if budget <= tower.image_tokens else ("data.max_length", longest)
        raise ConfigError(f"{key}: {found} leaves no room besides an image's {tower.image_tokens} tokens; raise it")
    images = min(config.train.pack_images, budget // (tower.image_tokens + 1), config.train.batch)
    tokens = min(budget, images * longest)
    samples = [_sample(length, tower.image_tokens, targets) for length in _equal_lengths(tokens, images)]
    text = collate(samples)
    starts = text.cu_seqlens[:-1].long()
    size = tower.preprocess.size
    batch = VlmBatch(
        text=text,
        cached_features=torch.empty(0),
        pixel_values=torch.empty(images, 3, size, size),  # never written, so it takes no physical memory
        cache_keys=(),
        feature_order=torch.arange(images),
        image_index=torch.arange(images),
        image_positions=(starts[:, None] + torch.arange(tower.image_tokens)).flatten(),
    )
    return Pack(describe_batch(batch), batch, text)


def without_images(pack: Pack) -> Pack:
    """The batch of a vision run whose pack holds text alone."""
    empty, none = torch.empty(0, dtype=torch.int64), torch.empty(0)
    batch = VlmBatch(pack.text, none, none, (), empty, empty, empty)
    return Pack(describe_batch(batch), batch, pack.text)


def of_answers(pack: Pack) -> Pack:
    """The pack as one of a run that compares answers: the targets of each of its samples are two answers."""
    text = pack.text
    assert isinstance(pack.batch, PackedBatch), "a pack of text"
    records = len(text.cu_seqlens) - 1
    of_target = torch.searchsorted(text.cu_seqlens[1:].long(), text.target_indices, right=True)
    answers = SIDES * of_target + (torch.arange(len(of_target)) % SIDES)
    none, ones = torch.zeros(SIDES * records), torch.ones(records)
    batch = AnswerBatch(pack.batch, answers, none, ones, ones)
    return Pack(describe_batch(batch), batch, text)


def text_of(batch: AnyPack | AnswerBatch[PackedBatch]) -> PackedBatch:
    """The text of a batch of any run."""
    if isinstance(batch, AnswerBatch):
        return text_of(batch.pack)
    return batch if isinstance(batch, PackedBatch) else batch.text


def describe_batch(batch: AnyPack | AnswerBatch[PackedBatch]) -> str:
    """A batch's numbers of tokens, targets and images, for messages."""
    if isinstance(batch, AnswerBatch):
        return f"{describe_batch(batch.pack)}, {len(batch.grades):,} records"
    if isinstance(batch, PackedBatch):
        return f"{batch.tokens:,} tokens, {len(batch.targets):,} of them targets"
    return f"{describe_batch(batch.text)}, {len(batch.image_positions):,} of them from {batch.image_count} images"


def _equal_lengths(total: int, count: int) -> Iterator[int]:
    """`count` lengths that differ by at most 1 and sum to `total`."""
    ends = np.linspace(0, total, count + 1).astype(int)
    return (int(length) for length in np.diff(ends))


def _sample(length: int, image_tokens: int, targets: float) -> Sample:
    """A record of `length` tokens: those of an image, then text; of the text the last share `targets` has a loss."""
    labels = np.full(length, IGNORED, np.int32)
    labels[length - max(1, round((length - image_tokens) * targets)) :] = 0
    return Sample(np.zeros(length, np.int32), labels)
