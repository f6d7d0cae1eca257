"""A pack through a ready model: image features, its own forward pass in the proved way, the head at targets."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from llm.attention.backend import TORCH
from llm.model.causal_lm import logits_of
from vlm.ready.batch import ReadyBatch
from vlm.ready.ready_model import ImageRows, ReadyVlm
from vlm.ready.ways import RecordBounds, Way


def every_position(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[T, V]: logits at every position of a pack."""
    return logits_of(vlm.head, hidden_states(vlm, batch))


def at_targets(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[K, V]: logits at the positions of targets only."""
    return logits_of(vlm.head, hidden_states(vlm, batch).index_select(0, batch.text.target_indices))


def hidden_states(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[T, hidden] after the final norm."""
    images = [vlm.features(inputs) if inputs else None for inputs in batch.inputs]
    bounds = tuple(batch.text.cu_seqlens.tolist())
    if vlm.way == Way.ALONE:
        return torch.cat(
            [
                _hidden(vlm, batch, slice(start, end), [image])
                for (start, end), image in zip(pairwise(bounds), images, strict=True)
            ]
        )
    complete = slice(0, batch.text.tokens)
    if vlm.way == Way.RECORDS:
        # With a mask of ones transformers does not look for records itself: in sliding windows it would then take the
        # marks of images from the beginning of the pack.
        ones = torch.ones_like(batch.text.input_ids)
        return _hidden(vlm, batch, complete, images, attention_mask=ones, packed=RecordBounds(bounds))
    return _hidden(vlm, batch, complete, images, packed=batch.text.attention, backend=TORCH)


def _hidden(
    vlm: ReadyVlm, batch: ReadyBatch, part: slice, images: Sequence[ImageRows | None], **packed: object
) -> Tensor:
    ids, positions = batch.text.input_ids[:, part], batch.positions[..., part]
    types = None if batch.token_types is None else batch.token_types[:, part]
    return vlm.hidden(ids, positions, types, [image for image in images if image is not None], **packed)
