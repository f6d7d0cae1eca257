"""What a run is made of. Text and vision runs differ in nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from llm.config.schema import Probe
from llm.data.corpus import CheckImage, Corpus
from llm.encoding.encoder import Encoder
from llm.train.optimizer import ParamGroup

BatchT = TypeVar("BatchT")


@dataclass(frozen=True, slots=True)
class RunParts(Generic[BatchT]):
    """What a run is made of, text or vision."""

    model: nn.Module  # called with a batch: the summed loss
    encoder: Encoder
    groups: list[ParamGroup]
    collate: Callable[[Corpus, tuple[int, ...]], BatchT]
    answer: Callable[[Probe], str]
    check_image: CheckImage | None = None
    look: CheckImage | None = None  # reads a picture whole, as a step would; None: a text run
    bases: Callable[[Path], dict[str, str]] = lambda cache: {}  # hashes of what was trained elsewhere, by name
    prepare: Callable[[Corpus], None] = lambda corpus: None  # once, before a fresh run's first step
    ready: Callable[[Corpus, Path], str] = lambda corpus, folder: ""  # before every run's first step; a line to print
    saved_buffers: tuple[str, ...] = ()  # buffers that belong to a checkpoint, by name
    must_move: tuple[str, ...] = ()  # groups whose gradient may not be zero
    sequence: int = 1  # processes that share every pack
