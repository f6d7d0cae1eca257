"""A pack through a ready model: image features, its own forward pass in the proved way, the head at targets."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm.attention.backend import TORCH
from llm.forward.pack_model import PackModel
from llm.model.causal_lm import logits_of
from vlm.ready.batch import ReadyBatch
from vlm.ready.ready_model import ImageRows, ReadyVlm
from vlm.ready.ways import RecordBounds, Way


class ReadyModule(PackModel):
    """A ready model as a run trains it: a pack in, its summed loss out. Its parameters are named `hf.*`."""

    def __init__(self, vlm: ReadyVlm, in_chunks: bool = True) -> None:
        super().__init__("off", in_chunks)
        self.vlm = vlm
        self.hf = vlm.hf
        self.shares_prefixes = False  # what the proof found
        self.facts: Mapping[str, object] = {}

    @property
    def llm(self) -> PreTrainedModel:
        """The complete model."""
        return self.hf

    def forward(self, batch: ReadyBatch) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        hidden = hidden_states(self.vlm, batch).index_select(0, batch.text.target_indices)
        return self.loss(hidden, self.vlm.head, batch.text.targets)

    def logits(self, batch: ReadyBatch) -> Tensor:
        """[K, V]: logits at the positions of targets only."""
        return at_targets(self.vlm, batch)


def every_position(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[T, V]: logits at every position of a pack."""
    return logits_of(vlm.head, hidden_states(vlm, batch))


def at_targets(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[K, V]: logits at the positions of targets only."""
    return logits_of(vlm.head, hidden_states(vlm, batch).index_select(0, batch.text.target_indices))


def hidden_states(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[T, hidden] after the final norm."""
    units = [vlm.features(inputs) for inputs in batch.units]
    images = [[units[number] for number in numbers] for numbers in batch.order]
    bounds = tuple(batch.text.cu_seqlens.tolist())
    if vlm.way == Way.ALONE:
        records = zip(pairwise(bounds), images, strict=True)
        return torch.cat([_hidden(vlm, batch, slice(start, end), own) for (start, end), own in records])
    complete, every = slice(0, batch.text.tokens), [image for own in images for image in own]
    if vlm.way == Way.RECORDS:
        # With a mask of ones transformers does not look for records itself: in sliding windows it would then take the
        # marks of images from the beginning of the pack.
        ones = torch.ones_like(batch.text.input_ids)
        return _hidden(vlm, batch, complete, every, attention_mask=ones, packed=RecordBounds(bounds))
    return _hidden(vlm, batch, complete, every, packed=batch.text.attention, backend=TORCH)


def _hidden(vlm: ReadyVlm, batch: ReadyBatch, part: slice, images: Sequence[ImageRows], **packed: object) -> Tensor:
    ids, positions = batch.text.input_ids[:, part], batch.positions[..., part]
    types = None if batch.token_types is None else batch.token_types[:, part]
    return vlm.hidden(ids, positions, types, images, **packed)
