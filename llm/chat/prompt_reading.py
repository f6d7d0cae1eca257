"""A prompt that is being read in bounded pieces, between the steps of other answers."""

import time
from collections import deque
from itertools import accumulate

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from llm.chat.answer_row import AnswerRow
from llm.decoding.model_steps import PromptReader
from llm.decoding.piece_size import PieceSize
from llm.decoding.prefix_cache import PrefixCache
from llm.formats.conversation import ImageRef, tokens_of_images

Part = tuple[list[int], tuple[ImageRef, ...]]  # ids, and the images whose places they hold


class PromptReading:
    """The prompt of one answer. Call it inside `answering`."""

    def __init__(self, model: PreTrainedModel, row: AnswerRow, prefixes: PrefixCache, size: PieceSize) -> None:
        """The prompt is read from where `prefixes` knows it when its turn comes, and is remembered there."""
        self.row = row
        self._model, self._prefixes, self._size = model, prefixes, size
        self._reader: PromptReader | None = None
        self._parts: deque[Part] = deque()

    @property
    def cache(self) -> DynamicCache:
        """Holds what was read."""
        assert self._reader is not None
        return self._reader.cache

    def go_on(self, others_wait: bool) -> Tensor | None:
        """Embed the next image, or read the next piece; the fp32 logits [vocabulary] after the prompt's last token."""
        reader = self._reader = self._reader or self._begun()
        tokens = self._size.tokens(others_wait)
        while reader.missing(tokens):
            ids, images = self._parts.popleft()
            with torch.no_grad():
                reader.give(self.row.request.embed(ids, images))
            if images:  # a tower may take as long as a piece
                return None
        began, read = time.perf_counter(), min(tokens, reader.left)
        logits = reader.read(tokens)
        self._size.measured(read, time.perf_counter() - began)
        if logits is not None:
            self._prefixes.store(self.row.request.ids, self.row.request.images, reader.cache)
        return logits

    def _begun(self) -> PromptReader:
        request = self.row.request
        prefix = self._prefixes.find(request.ids, request.images)
        ids, images = request.ids[prefix.length :], request.images[prefix.images :]
        self._parts = deque(parts_of_prompt(ids, images, request.image_id))
        return PromptReader(self._model, prefix.cache, len(ids))


def parts_of_prompt(ids: list[int], images: tuple[ImageRef, ...], image_id: int | None) -> list[Part]:
    """The prompt cut after the last place of each image, so that images are embedded one at a time.

    Where places and images do not fit together, the prompt is one part.
    """
    places = [place for place, token in enumerate(ids) if token == image_id]
    counts = tokens_of_images(images, len(places))
    if len(images) < 2 or not places or sum(counts) != len(places):
        return [(ids, images)]
    ends = [places[last - 1] + 1 for last in accumulate(counts)]
    starts = [0, *ends]
    parts: list[Part] = [(ids[starts[n] : ends[n]], (image,)) for n, image in enumerate(images)]
    return [*parts, (ids[ends[-1] :], ())] if ends[-1] < len(ids) else parts
