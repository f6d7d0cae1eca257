"""The largest pack that a recipe allows, built without data."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError
from llm.formats.conversation import ImageShape
from llm.prefer.answers import SIDES, AnswerBatch
from vlm.model.batch import TiledBatch, VlmBatch
from vlm.ready.batch import ReadyBatch
from vlm.vision.tile_rows import places_of_tiles
from vlm.vision.towers import Tower

AnyPack = PackedBatch | VlmBatch | ReadyBatch
AnyAnswers = AnswerBatch[PackedBatch] | AnswerBatch[VlmBatch]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack without content: its description, its batch, and the batch's text (in a text run the batch itself)."""

    description: str
    batch: AnyPack | AnyAnswers
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
    text = collate([_sample(length, 0, targets) for length in equal_lengths(tokens, count)])
    return Pack(describe_batch(text), text, text)


def image_packs(config: RunConfig, tower: Tower, targets: float) -> list[Pack]:
    """Packs of as many images as the budgets allow, one per record, filled up with text.

    One pack or, where images are tiles, two: of the images that take the most tokens, and of those that take the most
    views of the tower for their tokens. `targets`: share of the text tokens that have a loss. Raises ConfigError when a
    pack cannot hold one image.
    """
    shapes = _fitting(config, tower)
    chosen = (shapes[0], max(shapes, key=lambda shape: shape.views / shape.tokens))
    return [_pack_of(config, tower, shape, targets) for shape in dict.fromkeys(chosen)]


def image_pack(config: RunConfig, tower: Tower, targets: float) -> Pack:
    """The first of `image_packs`."""
    return image_packs(config, tower, targets)[0]


def _fitting(config: RunConfig, tower: Tower) -> list[ImageShape]:
    """The extreme shapes of images that a record may have."""
    budget, longest = config.train.pack_tokens, longest_record(config)
    shapes = [shape for shape in tower.extremes if shape.tokens < longest]
    if not shapes:
        least = tower.extremes[-1].tokens
        key, found = ("train.pack_tokens", budget) if budget <= least else ("data.max_length", longest)
        raise ConfigError(f"{key}: {found} leaves no room besides an image's {least} tokens; raise it")
    allowed = [shape for shape in shapes if shape.views <= config.train.pack_images]
    if not allowed:
        views = min(shape.views for shape in shapes)
        raise ConfigError(
            f"train.pack_images: {config.train.pack_images} is less than the {views} views of an image; raise it"
        )
    return allowed


def _pack_of(config: RunConfig, tower: Tower, shape: ImageShape, targets: float) -> Pack:
    """A pack of images of one shape."""
    budget = config.train.pack_tokens
    images = min(config.train.pack_images // shape.views, budget // (shape.tokens + 1), config.train.batch)
    tokens = min(budget, images * longest_record(config))
    samples = [_sample(length, shape.tokens, targets) for length in equal_lengths(tokens, images)]
    text = collate(samples)
    starts, views, size = text.cu_seqlens[:-1].long(), images * shape.views, tower.preprocess.size
    positions = (starts[:, None] + torch.arange(shape.tokens)).flatten()
    tiles = None
    if tower.tiling is not None:
        placed = places_of_tiles(tower.tiling, tower.image_tokens, [shape] * images)
        tiles = TiledBatch(placed.features, positions[placed.newlines_at], (shape.views,) * images)
        positions = positions[placed.features_at]
    batch = VlmBatch(
        text=text,
        cached_features=torch.empty(0),
        pixel_values=torch.empty(views, 3, size, size),  # never written, so it takes no physical memory
        cache_keys=(),
        feature_order=torch.arange(views),
        image_index=torch.arange(images),
        image_positions=positions,
        tiles=tiles,
    )
    return Pack(describe_batch(batch), batch, text)


def without_images(pack: Pack) -> Pack:
    """The batch of a vision run whose pack holds text alone."""
    if isinstance(pack.batch, ReadyBatch):
        bare = replace(pack.batch, units=(), order=((),) * len(pack.batch.order))
        return Pack(describe_batch(bare), bare, pack.text)
    empty, none = torch.empty(0, dtype=torch.int64), torch.empty(0)
    batch = VlmBatch(pack.text, none, none, (), empty, empty, empty)
    return Pack(describe_batch(batch), batch, pack.text)


def of_answers(pack: Pack) -> Pack:
    """The pack as one of a run that compares answers: the targets of each of its samples are two answers."""
    text = pack.text
    records = len(text.cu_seqlens) - 1
    of_target = torch.searchsorted(text.cu_seqlens[1:].long(), text.target_indices, right=True)
    answers = SIDES * of_target + (torch.arange(len(of_target)) % SIDES)
    none, ones = torch.zeros(SIDES * records), torch.ones(records)
    assert not isinstance(pack.batch, AnswerBatch), "a pack of samples"
    batch: AnswerBatch[PackedBatch] | AnswerBatch[VlmBatch]
    if isinstance(pack.batch, PackedBatch):
        batch = AnswerBatch(pack.batch, answers, none, ones, ones)
    else:
        assert isinstance(pack.batch, VlmBatch), "model.vlm compares no answers"
        batch = AnswerBatch(pack.batch, answers, none, ones, ones)
    return Pack(describe_batch(batch), batch, text)


def text_of(batch: AnyPack | AnyAnswers) -> PackedBatch:
    """The text of a batch of any run."""
    if isinstance(batch, AnswerBatch):
        return text_of(batch.pack)
    return batch if isinstance(batch, PackedBatch) else batch.text


def describe_batch(batch: AnyPack | AnyAnswers, row_id: int = -1) -> str:
    """A batch's numbers of tokens, targets and images, for messages. `row_id`: the token of a ready model's images."""
    if isinstance(batch, AnswerBatch):
        return f"{describe_batch(batch.pack)}, {len(batch.grades):,} records"
    if isinstance(batch, PackedBatch):
        return f"{batch.tokens:,} tokens, {len(batch.targets):,} of them targets"
    if isinstance(batch, ReadyBatch):
        rows, records = int((batch.text.input_ids == row_id).sum()), sum(map(bool, batch.order))
        return f"{describe_batch(batch.text)}, {rows:,} of them from the images of {records} records"
    if batch.tiles is None:
        return f"{describe_batch(batch.text)}, {len(batch.image_positions):,} of them from {batch.image_count} images"
    rows = len(batch.image_positions) + len(batch.tiles.newline_positions)
    return f"{describe_batch(batch.text)}, {rows:,} of them from images of {batch.image_count} views in all"


def image_count(batch: AnyPack | AnyAnswers) -> int:
    """The images of a batch; of a ready model the sets of images that its processor makes together."""
    if isinstance(batch, AnswerBatch):
        return image_count(batch.pack)
    if isinstance(batch, ReadyBatch):
        return len(batch.units)
    return batch.image_count if isinstance(batch, VlmBatch) else 0


def equal_lengths(total: int, count: int) -> Iterator[int]:
    """`count` lengths that differ by at most 1 and sum to `total`."""
    ends = np.linspace(0, total, count + 1).astype(int)
    return (int(length) for length in np.diff(ends))


def _sample(length: int, image_tokens: int, targets: float) -> Sample:
    """A record of `length` tokens: those of an image, then text; of the text the last share `targets` has a loss."""
    labels = np.full(length, IGNORED, np.int32)
    labels[length - max(1, round((length - image_tokens) * targets)) :] = 0
    return Sample(np.zeros(length, np.int32), labels)
