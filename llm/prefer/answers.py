"""Packs of preferences: which targets of a pack belong to which answer, and which answers are compared.

Two pairs about one prompt `p0 p1 p2`; the chosen answers are `c`, `d`, the rejected ones `r`, `s`. An answer's first
token is the target of the prompt's last one, which every branch therefore repeats:

    input_ids       p0  p1 | p2  c0 | p2  r0  r1 | p2  d0 | p2  s0
    targets                  c0  e    r0  r1  e    d0  e    s0  e
    answer_of                0   0    1   1   1    2   2    3   3
    chosen, rejected   [0, 2], [1, 3]
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm.data.prefix_sharing import share_prefixes
from llm.encoding.encoder import Sample

SIDES = 2  # answers of a record: the chosen and the rejected one; for `kto` its own and one that belongs elsewhere


class Pack(Protocol):
    """A pack of text or images, as a batch of supervised fine-tuning."""

    @property
    def samples(self) -> tuple[int, ...]: ...

    def describe(self) -> str: ...

    def muted(self) -> Self: ...

    def to(self, device: torch.device) -> Self: ...


PackT = TypeVar("PackT", bound=Pack)


@dataclass(frozen=True, slots=True)
class AnswerBatch(Generic[PackT]):
    """A pack with K targets in 2 P answers of P records: answers 2 i and 2 i + 1 are those of record i."""

    pack: PackT
    answer_of: Tensor  # [K], int64: the answer that each target is a token of
    reference: Tensor  # [2 P], fp32: the answers' log-probabilities under the reference; 0 without one
    grades: Tensor  # [P], fp32: margins of pairs; for `kto` 1 for a good and -1 for a bad answer
    counted: Tensor  # [P], fp32: 1, or 0 in a muted batch

    def __post_init__(self) -> None:
        assert len(self.reference) == SIDES * len(self.grades) == SIDES * len(self.counted), "two answers a record"

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of the records in the corpus."""
        return self.pack.samples

    def describe(self) -> str:
        """The size of the pack, for messages."""
        return self.pack.describe()

    def muted(self) -> Self:
        """The same batch whose loss and gradients are 0."""
        return replace(self, counted=torch.zeros_like(self.counted))

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        return replace(
            self,
            pack=self.pack.to(device),
            answer_of=self.answer_of.to(device, non_blocking=True),
            reference=self.reference.to(device, non_blocking=True),
            grades=self.grades.to(device, non_blocking=True),
            counted=self.counted.to(device, non_blocking=True),
        )


def lay_out(records: Sequence[Sample], fold: bool, image_id: int | None = None) -> tuple[list[Sample], list[int]]:
    """The samples of a pack, and the number of the answer that each of their sequences ends in, in their order.

    With `fold` the records share their prefixes; without it only the two answers of a record do.
    """
    if not fold:
        return list(records), list(range(SIDES * len(records)))
    tree, owners = share_prefixes(list(records), image_id)
    # The two sequences of a record have one prompt, so they follow each other in the tree, in their order.
    sides = Counter[int]()
    answers: list[int] = []
    for owner in owners:
        answers.append(SIDES * owner + sides[owner])
        sides[owner] += 1
    assert all(sides[record] == SIDES for record in range(len(records))), "two answers a record"
    return [tree], answers


def answers_of_targets(samples: Sequence[Sample], answers: Sequence[int], targets: Tensor) -> Tensor:
    """[K]: the answer of each target. `targets` [K]: their positions in the pack of these samples, ascending."""
    rest = iter(answers)
    positions: list[NDArray[np.int64]] = []
    for sample in samples:
        of = np.full(len(sample.ids), -1, np.int64)
        nodes = list(sample.nodes())
        parents = {parent for _, _, parent in nodes[1:]}
        for node, (start, end, _) in enumerate(nodes):
            if node not in parents:
                of[start:end] = next(rest)
        positions.append(of)
    found = torch.from_numpy(np.concatenate(positions)).index_select(0, targets)
    assert next(rest, None) is None and bool((found >= 0).all()), "every target is in one answer"
    return found
