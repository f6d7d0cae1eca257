"""A pack through a ready model: image features, its own forward pass in the proved way, the head at targets."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from llm import distributed
from llm.attention.backend import TORCH, Backend
from llm.forward.pack_model import PackModel
from llm.model.causal_lm import logits_of
from vlm.ready.batch import ReadyBatch
from vlm.ready.feature_cache import ReadyFeatures
from vlm.ready.ready_model import ImageRows, Inputs, ReadyVlm
from vlm.ready.ways import RecordBounds, Way

BLANK = (64, 64)  # width and height of the image that keeps processes in step


class ReadyModule(PackModel):
    """A ready model as a run trains it: a pack in, its summed loss out. Its parameters are named `hf.*`."""

    def __init__(self, vlm: ReadyVlm, in_chunks: bool = True) -> None:
        super().__init__("off", in_chunks)
        self.vlm = vlm
        self.hf = vlm.hf
        self.shares_prefixes = False  # what the proof found
        self.facts: Mapping[str, object] = {}
        self.feature_cache: ReadyFeatures | None = None  # of a frozen image side
        # Under ZeRO the processes wait for each other in every module: all of them compute as many units in a pack.
        self.lockstep = False

    @property
    def llm(self) -> PreTrainedModel:
        """The complete model."""
        return self.hf

    def train(self, mode: bool = True) -> "ReadyModule":
        """An image side that is frozen stays in eval mode: its features are those that the proof compared."""
        super().train(mode)
        if not self.vlm.image_side_trains:
            for part in self.vlm.image_modules():
                part.eval()
        return self

    def forward(self, batch: ReadyBatch) -> Tensor:
        """Summed cross-entropy over the pack's targets, fp32 scalar."""
        return self.loss(self._at_targets(batch), self.vlm.head, batch.text.targets)

    def logits(self, batch: ReadyBatch) -> Tensor:
        """[K, V]: logits at the positions of targets only."""
        return logits_of(self.vlm.head, self._at_targets(batch))

    def _at_targets(self, batch: ReadyBatch) -> Tensor:
        computed = sum(unit.features is None for unit in batch.units)
        most = self._most_units(computed) if self.lockstep else 0
        units = unit_rows(self.vlm, batch)
        for unit, rows in zip(batch.units, units, strict=True):
            if self.feature_cache is not None and unit.key:
                self.feature_cache.put(unit.key, unit.inputs, rows)
        blanks = [self.vlm.features(self._blank) for _ in range(computed, most)]
        hidden = hidden_states(self.vlm, batch, units, self.backend).index_select(0, batch.text.target_indices)
        return hidden + self._zero(blanks).to(hidden.dtype) if self.lockstep else hidden

    def _most_units(self, computed: int) -> int:
        """The largest number of units that a process computes, at least 1 where the image side trains. A collective.

        It comes before the first module is called, which under ZeRO-3 is a collective too.
        """
        counts = distributed.all_gather(torch.tensor(max(computed, int(self.vlm.image_side_trains))))
        return max(int(count) for count in counts)

    def _zero(self, blanks: Sequence[ImageRows]) -> Tensor:
        """A 0 made of blank images and of the parameters that belong to no module of the image side.

        With it all processes have gradients of the same parameters.
        """
        values = [tensor for blank in blanks for tensor in (blank.rows, *blank.layers)]
        values += [parameter for parameter in self.vlm.loose if parameter.requires_grad]
        zeros = [0 * value.float().sum() for value in values if value.requires_grad]
        return torch.stack(zeros).sum() if zeros else torch.zeros((), device=self.vlm.hf.device)

    @cached_property
    def _blank(self) -> Inputs:
        return self.vlm.processor.inputs([Image.new("RGB", BLANK)])


def every_position(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[T, V]: logits at every position of a pack."""
    return logits_of(vlm.head, hidden_states(vlm, batch, unit_rows(vlm, batch)))


def at_targets(vlm: ReadyVlm, batch: ReadyBatch) -> Tensor:
    """[K, V]: logits at the positions of targets only."""
    hidden = hidden_states(vlm, batch, unit_rows(vlm, batch))
    return logits_of(vlm.head, hidden.index_select(0, batch.text.target_indices))


def unit_rows(vlm: ReadyVlm, batch: ReadyBatch) -> list[ImageRows]:
    """The features of the units of a pack: cached ones, and others each computed by itself."""
    return [vlm.features(unit.inputs) if unit.features is None else unit.features for unit in batch.units]


def hidden_states(vlm: ReadyVlm, batch: ReadyBatch, units: Sequence[ImageRows], backend: Backend = TORCH) -> Tensor:
    """[T, hidden] after the final norm, with the features of the pack's units."""
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
    return _hidden(vlm, batch, complete, every, packed=batch.text.attention, backend=backend)


def _hidden(vlm: ReadyVlm, batch: ReadyBatch, part: slice, images: Sequence[ImageRows], **packed: object) -> Tensor:
    ids, positions = batch.text.input_ids[:, part], batch.positions[..., part]
    types = None if batch.token_types is None else batch.token_types[:, part]
    return vlm.hidden(ids, positions, types, images, **packed)
