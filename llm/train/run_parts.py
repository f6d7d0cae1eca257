"""What the training loop needs of a run, and what it needs of a batch. Text and vision runs differ in nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import nn

from llm.config.schema import Probe
from llm.data.corpus import CheckImage, Corpus
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
