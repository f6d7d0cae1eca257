"""A pack of a ready model's records: ids, positions of the model's own, and the tensors of its processor.

A unit is what the processor makes of some images at once: of all images of a record, or, where records share a prefix
(`llm.data.prefix_sharing`), of one image. Equal units of a pack are made and computed once:

    samples    "<image> red?"(a)   "<image><image> same?"(a, b)   "hello"   "<image> big?"(a)
    units      {a}  {a, b}                                                   U = 2, with pixels or cached features
    order      [0, 1, 0]           the units of the pack's image tokens, in its order
    positions  [1, T], or [3, 1, T] for models with one position each for time, height and width
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import Sample
from llm.encoding.token_view import supervised_mask
from vlm.ready.feature_cache import ReadyFeatures, Unit, units_of
from vlm.ready.processor import ReadyProcessor
from vlm.ready.ready_model import ImageRows, Inputs, ReadyVlm
from vlm.vision.images import read_image


@dataclass(frozen=True, slots=True)
class UnitInputs:
    """What the model gets of a unit: tensors of its processor or, where these are cached, its features."""

    inputs: Inputs  # with cached features those alone from which positions are computed
    features: ImageRows | None = None
    key: str = ""  # under which computed features are to be cached; empty: they are not

    def to(self, device: torch.device) -> "UnitInputs":
        """The same on another device."""
        inputs = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, features=None if self.features is None else self.features.to(device))


@dataclass(frozen=True, slots=True)
class ReadyBatch:
    """One pack of n records with T tokens."""

    text: PackedBatch
    positions: Tensor  # [1, T] or [3, 1, T]
    token_types: Tensor | None  # [1, T]: 1 for tokens of images; None for a class that does not ask
    units: tuple[UnitInputs, ...]  # [U]
    order: tuple[tuple[int, ...], ...]  # [n]: the units of each record

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of the records in the corpus."""
        return self.text.samples

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return f"{self.text.tokens:,} tokens ({len(self.samples)} samples)"

    def muted(self) -> "ReadyBatch":
        """The same tokens and images without targets."""
        return replace(self, text=self.text.muted())

    def to(self, device: torch.device) -> "ReadyBatch":
        """The same batch on another device."""
        units = tuple(unit.to(device) for unit in self.units)
        types = None if self.token_types is None else self.token_types.to(device, non_blocking=True)
        positions = self.positions.to(device, non_blocking=True)
        return replace(self, text=self.text.to(device), positions=positions, token_types=types, units=units)


def collate_ready(
    samples: Sequence[Sample], vlm: ReadyVlm, indices: tuple[int, ...] = (), cache: ReadyFeatures | None = None
) -> ReadyBatch:
    """Pack samples, reading the pixels of their images or, where the cache holds them, their features.

    Raises ImageError for an image that cannot be read.
    """
    of_samples = [units_of(sample.images, one_by_one=bool(sample.branches)) for sample in samples]
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(sum(of_samples, ())))}
    made = [_unit_inputs(unit, vlm.processor, cache) for unit in numbers]
    order = tuple(tuple(numbers[unit] for unit in units) for units in of_samples)
    types = [vlm.token_types(torch.tensor(sample.ids), torch.tensor(supervised_mask(sample))) for sample in samples]
    asked = [each for each in types if each is not None]
    inputs = [[made[number].inputs for number in numbers_of_sample] for numbers_of_sample in order]
    return ReadyBatch(
        text=collate(list(samples), indices),
        positions=pack_positions(vlm, samples, types, inputs),
        token_types=torch.cat(asked)[None] if asked else None,
        units=tuple(made),
        order=order,
    )


def _unit_inputs(unit: Unit, processor: ReadyProcessor, cache: ReadyFeatures | None) -> UnitInputs:
    if cache is None:
        return UnitInputs(read_inputs(unit, processor))
    key = cache.key(unit)
    found = cache.get(key)
    if found is None:
        return UnitInputs(read_inputs(unit, processor), key=key)
    features, inputs = found
    return UnitInputs(inputs, features)


def read_inputs(unit: Unit, processor: ReadyProcessor) -> Inputs:
    """The tensors of a unit."""
    return processor.inputs([read_image(image) for image in unit])


def pack_positions(
    vlm: ReadyVlm, samples: Sequence[Sample], types: Sequence[Tensor | None], inputs: Sequence[Sequence[Inputs]]
) -> Tensor:
    """[1, T] or [3, 1, T]: those of each record by itself, one after the other.

    A rope index of the pack as one sequence would let a record continue the positions of the one before.
    """
    each = zip(samples, types, inputs, strict=True)
    return torch.cat([positions_of(vlm, sample, kinds, units) for sample, kinds, units in each], -1)


def positions_of(vlm: ReadyVlm, sample: Sample, types: Tensor | None, inputs: Sequence[Inputs]) -> Tensor:
    """[1, L] or [3, 1, L]: the model's own positions of each sequence in a sample, which shared prefixes have alike."""
    ids = torch.tensor(sample.ids, dtype=torch.int64)
    if not sample.branches:
        return vlm.positions(ids, types, inputs[0] if inputs else {})
    nodes = [torch.arange(start, end) for start, end, _ in sample.nodes()]
    images = _units_of_nodes(vlm, sample, inputs)
    placed: Tensor | None = None
    for path in sample.paths():
        where = torch.cat([nodes[node] for node in path])
        of_path = [unit for node in path for unit in images[node]]
        found = vlm.positions(ids[where], None if types is None else types[where], vlm.joined(of_path))
        placed = found.new_zeros(*found.shape[:-1], len(ids)) if placed is None else placed
        placed[..., where] = found
    assert placed is not None, "a sample with branches has a path"
    return placed


def _units_of_nodes(vlm: ReadyVlm, sample: Sample, inputs: Sequence[Inputs]) -> list[list[Inputs]]:
    """The images whose first token each node has. Every sequence of a sample with branches has one image at most."""
    rows = sample.ids == vlm.processor.row_id
    rest = iter(inputs)
    with_images = [bool(rows[start:end].any()) for start, end, _ in sample.nodes()]
    found = [[next(rest)] if has else [] for has in with_images]
    assert next(rest, None) is None, "an image is in one node"
    return found
