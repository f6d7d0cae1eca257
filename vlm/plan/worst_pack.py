"""The largest pack that a recipe allows, made up without any data."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from llm.config.schema import RunConfig
from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError
from vlm.model.batch import VlmBatch
from vlm.vision.towers import Tower


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack without content: what it is called, its batch, and its text, which is the batch of a text run."""

    about: str
    batch: PackedBatch | VlmBatch
    text: PackedBatch


def packs_a_step(config: RunConfig) -> int:
    """Packs of an optimizer step when every record is as long as it may be."""
    return max(1, -(-config.train.batch * longest(config) // config.train.pack_tokens))


def longest(config: RunConfig) -> int:
    """Rows of the longest record that a pack can hold."""
    return min(config.data.max_length, config.train.pack_tokens)


def text_pack(config: RunConfig, targets: float, most: int = 0) -> Pack:
    """Records of text as long as they may be, or of `most` rows; `targets` is the share of rows that are learnt."""
    length = min(longest(config), most or longest(config))
    rows = min(config.train.pack_tokens, config.train.batch * length)
    count = -(-rows // length)
    text = collate([_sample(length, 0, targets) for length in _shares(rows, count)])
    return Pack(about(text), text, text)


def picture_pack(config: RunConfig, tower: Tower, targets: float) -> Pack:
    """As many pictures as the budgets allow, one a record, and text in all the other rows.

    Raises ConfigError when the pack cannot hold one picture.
    """
    budget = config.train.pack_tokens
    if longest(config) <= tower.image_tokens:
        key, found = (
            ("train.pack_tokens", budget) if budget <= tower.image_tokens else ("data.max_length", longest(config))
        )
        raise ConfigError(f"{key}: {found} leaves no room beside a picture's {tower.image_tokens} rows; raise it")
    pictures = min(config.train.pack_images, budget // (tower.image_tokens + 1), config.train.batch)
    rows = min(budget, pictures * longest(config))
    samples = [_sample(length, tower.image_tokens, targets) for length in _shares(rows, pictures)]
    text = collate(samples)
    starts = text.cu_seqlens[:-1].long()
    size = tower.preprocess.size
    batch = VlmBatch(
        text=text,
        cached_features=torch.empty(0),
        pixel_values=torch.empty(pictures, 3, size, size),  # never written: no memory stands behind it
        cache_keys=(),
        feature_order=torch.arange(pictures),
        image_index=torch.arange(pictures),
        image_positions=(starts[:, None] + torch.arange(tower.image_tokens)).flatten(),
    )
    return Pack(about(batch), batch, text)


def without_pictures(pack: Pack) -> Pack:
    """A vision run's pack of text alone."""
    empty, none = torch.empty(0, dtype=torch.int64), torch.empty(0)
    batch = VlmBatch(pack.text, none, none, (), empty, empty, empty)
    return Pack(about(batch), batch, pack.text)


def about(batch: PackedBatch | VlmBatch) -> str:
    """What a batch holds, in words."""
    if isinstance(batch, PackedBatch):
        return f"{batch.tokens:,} rows, {len(batch.targets):,} of them targets"
    return f"{about(batch.text)}, {len(batch.image_positions):,} rows of {batch.image_count} pictures"


def _shares(rows: int, count: int) -> Iterator[int]:
    """`count` lengths, as equal as can be, that sum to `rows`."""
    ends = np.linspace(0, rows, count + 1).astype(int)
    return (int(length) for length in np.diff(ends))


def _sample(length: int, picture: int, targets: float) -> Sample:
    """A record whose first `picture` rows are a picture's and of whose others the last `targets` are learnt."""
    labels = np.full(length, IGNORED, np.int32)
    labels[length - max(1, round((length - picture) * targets)) :] = 0
    return Sample(np.zeros(length, np.int32), labels)
