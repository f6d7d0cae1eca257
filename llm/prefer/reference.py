"""Log-probabilities of all answers of a run under its reference: computed once, before the first step, kept on disk.

The reference is the model as the run begins. It is computed on the packs that the first epoch trains on, by the same
forward pass, so that the first step's rewards are 0. A file holds the two answers of every record of a corpus, NaN for
records that no pack held; its name is a hash of all that the numbers depend on.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llm import distributed
from llm.data.corpus import Corpus
from llm.data.loader import Loader
from llm.errors import RunError
from llm.files.atomic_files import atomic_file
from llm.prefer.answers import SIDES, AnswerBatch, PackT
from llm.prefer.model import PreferModel

FOLDER = "reference"  # in the cache folder
VERSION = 1  # raise when the same inputs give other numbers
_NAME = "log_probs"
Table = NDArray[np.float32]  # [n, SIDES]


@dataclass(frozen=True, slots=True)
class ReferenceLogProbs(Generic[PackT]):
    """The tables of a run's corpora, by the corpora's keys; filled by `prepare`."""

    tables: dict[str, Table] = field(default_factory=dict)

    def of(self, corpus: Corpus, indices: Sequence[int]) -> torch.Tensor:
        """[2 P], fp32: of the answers of these records; 0 where they are not known."""
        table = self.tables.get(corpus.key)
        if table is None:
            return torch.zeros(SIDES * len(indices))
        return torch.from_numpy(np.nan_to_num(table[list(indices)].reshape(-1)))

    def prepare(
        self,
        model: PreferModel[PackT],
        loaders: Sequence[Loader[AnswerBatch[PackT]]],
        cache: Path,
        depends: Mapping[str, str],
    ) -> str:
        """Read the tables from `cache`, or compute and write them; returns a line for the log. A collective.

        `loaders` have every record that the run reads; `depends`: hashes of what the numbers depend on besides the
        corpus. Raises RunError when the cache cannot be written.
        """
        computed = known = 0
        for loader in loaders:
            file = cache / FOLDER / f"{_key(loader.corpus, depends)}.safetensors"
            table = _shared(_read(file, len(loader.corpus)))
            wanted = _records(loader)
            missing = wanted[np.isnan(table[wanted]).any(1)]
            if len(missing):
                table = np.where(np.isnan(table), _computed(model, loader, missing), table)
                if distributed.ranks().first:
                    _write(file, table)
            self.tables[loader.corpus.key] = table
            computed, known = computed + len(missing), known + len(wanted) - len(missing)
        return f"reference: log-probabilities of {computed:,} records computed, of {known:,} read from {cache / FOLDER}"


def _records(loader: Loader[AnswerBatch[PackT]]) -> NDArray[np.int64]:
    packs = [pack for plan in loader.schedule.plans for step in plan.steps for pack in step]
    return np.unique(np.concatenate(packs))


def _computed(model: PreferModel[PackT], loader: Loader[AnswerBatch[PackT]], missing: NDArray[np.int64]) -> Table:
    """[n, SIDES]: of the records in packs that hold a missing one, over all processes; NaN of others."""
    total = torch.zeros(len(loader.corpus), SIDES + 1, dtype=torch.float64)
    wanted = frozenset(missing.tolist())
    with model.as_reference():
        for step in loader.steps(0):
            for batch in step.batches:
                if wanted.isdisjoint(batch.samples) or not bool(batch.counted.any()):
                    continue
                found = model.answer_log_probs(batch).view(-1, SIDES).double().cpu()
                total[list(batch.samples), :SIDES] = found
                total[list(batch.samples), SIDES] = 1
    total = distributed.all_reduce_sum(total)
    known = total[:, SIDES] > 0
    table = torch.where(known[:, None], total[:, :SIDES], torch.nan)
    return table.float().numpy()


def _shared(table: Table) -> Table:
    """The first process's table, in all processes: their disks may differ."""
    values = torch.from_numpy(table).double()
    if not distributed.ranks().first:
        values = torch.zeros_like(values)
    return distributed.all_reduce_sum(values).float().numpy()


def _key(corpus: Corpus, depends: Mapping[str, str]) -> str:
    paths = sorted({path for images in corpus.images for path in images})
    parts = [VERSION, corpus.digest(), dict(depends), [[path, *_stamp(path)] for path in paths]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _stamp(path: str) -> tuple[int, int]:
    """Size and modification time of an image; a missing one is found when it is read."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _read(file: Path, records: int) -> Table:
    """The table of a file; NaN where the file is missing, damaged or of another size: it can be computed again."""
    unknown = np.full((records, SIDES), np.nan, np.float32)
    if not file.is_file():
        return unknown
    try:
        table = load_file(file).get(_NAME)
    except (SafetensorError, OSError):
        return unknown
    return table.numpy() if table is not None and table.shape == (records, SIDES) else unknown


def _write(file: Path, table: Table) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as partial:
            save_file({_NAME: torch.from_numpy(np.ascontiguousarray(table))}, partial)
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error}. Choose another `out` or data.cache") from error
