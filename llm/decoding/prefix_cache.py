"""Keys and values of prompts, for later ones that begin alike: with a system prompt, an image, the turns before."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from llm.formats.conversation import ImageRef, tokens_of_images

ROOM = 2**28  # bytes of a server's models, each with and without its adapters
SHORTEST = 16  # tokens; fewer are read as fast as they are found
Image = tuple[object, ...]  # identifies the contents of an image


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt whose first `length` tokens, with its first `images`, need not be read."""

    length: int
    images: int
    cache: DynamicCache  # holds these tokens alone


@dataclass(frozen=True, slots=True)
class _Entry:
    ids: list[int]
    images: list[Image]
    layers: list[tuple[Tensor, Tensor]]  # keys and values [1, heads, T, D]

    @property
    def bytes(self) -> int:
        return sum(states.nbytes for layer in self.layers for states in layer)


class PrefixCache:
    """Prompts of one model, the least recently used of which make room for others. Not thread-safe."""

    def __init__(self, model: PreTrainedModel, room: int, image_id: int | None = None) -> None:
        """Up to `room` bytes; 0 remembers nothing. `image_id` is the token at an image's places."""
        self._config, self._room, self._image_id = model.config, room, -1 if image_id is None else image_id
        self._entries: deque[_Entry] = deque()  # the last one was used last

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return sum(entry.bytes for entry in self._entries)

    def find(self, ids: list[int], images: Sequence[ImageRef]) -> Prefix:
        """The longest remembered beginning; at least the last token remains, whose logits are wanted."""
        named = [_identity(image) for image in images] if self._entries else []
        best, length = None, 0
        for entry in self._entries:
            if (common := self._common(entry, ids, images, named)) > length:
                best, length = entry, common
        if best is None or length < SHORTEST:
            return Prefix(0, 0, DynamicCache(config=self._config))
        self._entries.remove(best)
        self._entries.append(best)
        before = sum(1 for _, end in self._places(ids, images) if end <= length)
        return Prefix(length, before, self._beginning(best, length))

    def store(self, ids: list[int], images: Sequence[ImageRef], cache: DynamicCache) -> None:
        """Remember a prompt that was read into `cache`, which is not changed afterwards."""
        if len(ids) < SHORTEST or not self._room:
            return
        layers = [_states(layer) for layer in cache.layers]
        entry = _Entry(ids, [_identity(image) for image in images], layers)
        if entry.bytes > self._room:
            return
        for other in [*self._entries]:
            if other.ids == ids and other.images == entry.images:
                self._entries.remove(other)
        self._entries.append(entry)
        while self.bytes > self._room:
            self._entries.popleft()

    def _common(self, entry: _Entry, ids: list[int], images: Sequence[ImageRef], named: list[Image]) -> int:
        """Tokens that both begin with, cut before the first image that differs or is only begun."""
        most = min(len(entry.ids), len(ids) - 1)
        length = next((place for place in range(most) if entry.ids[place] != ids[place]), most)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(entry.images, named, strict=False)))
        for number, (start, end) in enumerate(self._places(ids, images)):
            if start < length and (number >= same or end > length):
                return start
        return length

    def _places(self, ids: list[int], images: Sequence[ImageRef]) -> list[tuple[int, int]]:
        """Where each image begins and ends in `ids`."""
        places = [place for place, token in enumerate(ids) if images and token == self._image_id]
        counts = tokens_of_images(images, len(places))
        ends = zip(counts, accumulate(counts), strict=True)
        return [(places[last - count], places[last - 1] + 1) for count, last in ends]

    def _beginning(self, entry: _Entry, length: int) -> DynamicCache:
        """A cache of the first tokens. A layer grows by concatenation, so the entry's own tensors do not change."""
        cache = DynamicCache(config=self._config)
        for number, (keys, values) in enumerate(entry.layers):
            cache.update(keys[:, :, :length], values[:, :, :length], number)
        return cache


def _states(layer: object) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    return layer.keys, layer.values


def _identity(image: ImageRef) -> Image:
    """Its bytes, or its file as it is now."""
    if image.data:
        return ("bytes", image.data)
    try:
        found = os.stat(image.file)
    except OSError:  # what reads the image says so
        return ("unreadable", image.path)
    return (image.path, found.st_size, found.st_mtime_ns, found.st_ino)
