"""A pack of a ready model's records: ids, positions of the model's own, and the tensors of its processor.

An entry of `inputs` is a dictionary of tensors for the images of one record, as the processor makes them; of a record
without images it is empty:

    samples         "<image> red?"        "<image><image> same?"     "hello"
    inputs          {one image}           {two images}           {}
    positions       [1, T], or [3, 1, T] for models with one position each for time, height and width
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import Sample
from vlm.ready.processor import ReadyProcessor
from vlm.ready.ready_model import ReadyVlm
from vlm.vision.images import read_image

Inputs = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class ReadyBatch:
    """One pack of n records with T tokens."""

    text: PackedBatch
    positions: Tensor  # [1, T] or [3, 1, T]
    token_types: Tensor | None  # [1, T]: 1 for tokens of images; None for a class that does not ask
    inputs: tuple[Inputs, ...]  # [n]


def collate_ready(samples: Sequence[Sample], vlm: ReadyVlm, indices: tuple[int, ...] = ()) -> ReadyBatch:
    """Pack samples, reading the pixels of their images. Raises ImageError for an image that cannot be read."""
    made = [read_inputs(sample, vlm.processor) for sample in samples]
    types = [vlm.token_types(torch.from_numpy(sample.ids)) for sample in samples]
    asked = [each for each in types if each is not None]
    return ReadyBatch(
        text=collate(list(samples), indices),
        positions=pack_positions(vlm, samples, types, made),
        token_types=torch.cat(asked)[None] if asked else None,
        inputs=tuple(made),
    )


def read_inputs(sample: Sample, processor: ReadyProcessor) -> Inputs:
    """The tensors of a record's images; empty without any."""
    return processor.inputs([read_image(image) for image in sample.images]) if sample.images else {}


def pack_positions(
    vlm: ReadyVlm, samples: Sequence[Sample], types: Sequence[Tensor | None], made: Sequence[Inputs]
) -> Tensor:
    """[1, T] or [3, 1, T]: those of each record by itself, one after the other.

    A rope index of the pack as one sequence would let a record continue the positions of the one before.
    """
    each = zip(samples, types, made, strict=True)
    return torch.cat([positions_of(vlm, sample, kinds, inputs) for sample, kinds, inputs in each], -1)


def positions_of(vlm: ReadyVlm, sample: Sample, types: Tensor | None, inputs: Inputs) -> Tensor:
    """[1, L] or [3, 1, L]: the model's own positions of each sequence in a sample, which shared prefixes have alike."""
    ids = torch.from_numpy(sample.ids).long()
    if not sample.branches:
        return vlm.positions(ids, types, inputs)
    nodes = [torch.arange(start, end) for start, end, _ in sample.nodes()]
    placed: Tensor | None = None
    for path in sample.paths():
        where = torch.cat([nodes[node] for node in path])
        found = vlm.positions(ids[where], None if types is None else types[where], inputs)
        placed = found.new_zeros(*found.shape[:-1], len(ids)) if placed is None else placed
        placed[..., where] = found
    assert placed is not None, "a sample with branches has a path"
    return placed
