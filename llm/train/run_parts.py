"""What the training loop needs of a run, and what it needs of a batch. Text and vision runs differ in nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llm.config.schema import Probe
from llm.data.corpus import CONVERSATIONS, CheckImage, Corpus, RecordForm
from llm.data.loader import Loader
from llm.encoding.encoder import Encoder
from llm.train.optimizer import ParamGroup


class Batch(Protocol):
    """One pack as tensors; `llm.data.batch.PackedBatch` is one."""

    @property
    def samples(self) -> tuple[int, ...]:
        """Indices of its records in the corpus."""
        ...

    def describe(self) -> str:
        """Its size in words, for messages."""
        ...

    def muted(self) -> Self:
        """The same batch without targets: its loss and all its gradients are 0."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        ...


BatchT = TypeVar("BatchT", bound=Batch)
BatchT_co = TypeVar("BatchT_co", bound=Batch, covariant=True)


class StepFigures(Protocol):
    """Figures of steps besides the loss: sums over this process's batches; the loop adds up those of all processes."""

    @property
    def count(self) -> int:
        """How many numbers `take` returns."""
        ...

    def begin(self, batches: Sequence[Any]) -> None:
        """Called with this process's batches before a step's or a validation step's first loss. May be a collective."""
        ...

    def take(self) -> Tensor:
        """[count], fp32: the sums of the batches whose loss was computed since the last call."""
        ...

    def advance(self, sums: Sequence[float]) -> None:
        """Called after every training step with its sums over all processes."""
        ...

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """The metrics of some steps, by name, from their sums over all processes."""
        ...

    def state(self) -> Mapping[str, float]:
        """What later steps depend on, for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state()`."""
        ...


class NoFigures:
    """A run whose metrics are the loss and what the loop measures itself."""

    count = 0

    def begin(self, batches: Sequence[Any]) -> None:
        """Nothing."""

    def take(self) -> Tensor:
        """[0]."""
        return torch.zeros(0)

    def advance(self, sums: Sequence[float]) -> None:
        """Nothing."""

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """None."""
        return {}

    def state(self) -> Mapping[str, float]:
        """None."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Nothing."""


NO_FIGURES = NoFigures()


def targets_of(corpus: Corpus) -> NDArray[np.int64]:
    """[n]: the targets of every record."""
    return corpus.targets


Survey = Callable[[Sequence[Loader[Any]], Path, Mapping[str, str]], str]
"""(loaders of every record that the run reads, cache folder, hashes of what the run starts from) -> a line to log."""


@dataclass(frozen=True, slots=True)
class RunParts(Generic[BatchT_co]):
    """The model of a run and the functions that the run calls on the way."""

    model: nn.Module  # batch -> summed loss, fp32 scalar
    encoder: Encoder
    groups: list[ParamGroup]
    collate: Callable[[Corpus, tuple[int, ...]], BatchT_co]  # the batch of one pack, as this process computes it
    answer: Callable[[Probe], str]
    check_image: CheckImage | None = None  # reads an image's header when the corpus is built
    evaluate: Callable[[], Mapping[str, float]] | None = None  # `train.evaluate`; on all processes, each the same
    look: CheckImage | None = None  # reads an image completely, as a step does; None: a text run
    bases: Callable[[Path], dict[str, str]] = lambda cache: {}  # hashes of what the run starts from, by recipe key
    prepare: Callable[[Corpus], None] = lambda corpus: None  # once, before the first step of a new run
    ready: Callable[[Corpus, Path], str] = lambda corpus, folder: ""  # at every start; returns a line to log
    saved_buffers: tuple[str, ...] = ()  # names of buffers that checkpoints hold
    must_move: tuple[str, ...] = ()  # parameter groups whose gradient must not be zero
    facts: Mapping[str, object] = field(default_factory=dict)  # of the model, for the report
    sequence: int = 1  # processes that share every pack
    form: RecordForm = CONVERSATIONS  # how rows become encoded records
    counts: Callable[[Corpus], NDArray[np.int64]] = targets_of  # [n]: what of each record a step's loss is divided by
    figures: StepFigures = NO_FIGURES
    survey: Survey | None = None  # at every start, before weights of a checkpoint are loaded
    saved: nn.Module | None = None  # whose names of parameters checkpoints hold; None: `model`

    @property
    def saved_model(self) -> nn.Module:
        """The module whose names of parameters checkpoints hold."""
        return self.saved or self.model
