"""Counts where the host waits for the device: on a card each such operation leaves it idle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llm.config.schema import RunConfig
from llm.train.engine import TorchEngine
from vlm.model.runs import train

aten = torch.ops.aten
# Operations whose result, or the shape of it, the host has to read.
READS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.equal,
         aten.unique_consecutive, aten.bincount}  # fmt: skip


class HostSyncs(TorchDispatchMode):
    """How many times this thread read a tensor's values while the mode was active, whatever the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._drawn: list[Tensor] = []  # numbers of the CPU's generator, such as dropout's seeds: on the host already

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += (func.overloadpacket in READS and not self._is_drawn(args[0])) or _masked(func, args)
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket is aten.randint:
            self._drawn.append(found)
        return found

    def _is_drawn(self, tensor: Tensor) -> bool:
        return any(tensor.untyped_storage().data_ptr() == drawn.untyped_storage().data_ptr() for drawn in self._drawn)


def _masked(func: Any, args: Any) -> bool:
    """Indexing by a mask, or repeating by a tensor: the result is as long as the values say."""
    if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return bool(func is aten.repeat_interleave.Tensor)


@contextmanager
def host_syncs() -> Iterator[HostSyncs]:
    """Counts inside; `tolist` and `numpy`, which read a CPU tensor without an operation, are counted as well."""
    syncs, thread = HostSyncs(), threading.current_thread()
    with pytest.MonkeyPatch.context() as patch, syncs:
        for name in ("tolist", "numpy"):
            patch.setattr(torch.Tensor, name, _counted(getattr(torch.Tensor, name), syncs, thread))
        yield syncs


def _counted(read: Any, syncs: HostSyncs, thread: threading.Thread) -> Any:
    def counted(self: Tensor, *args: Any, **options: Any) -> Any:
        syncs.count += threading.current_thread() is thread
        return read(self, *args, **options)

    return counted


def syncs_of_steps(config: RunConfig) -> list[int]:
    """Train; how often the host waited from the end of each optimizer step to the end of the next."""
    counts: list[int] = []
    step = TorchEngine.step
    with host_syncs() as syncs, pytest.MonkeyPatch.context() as patch:

        def counted(self: TorchEngine, factor: float, figures: list[Tensor]) -> list[float]:
            found = step(self, factor, figures)
            counts.append(syncs.count)
            return found

        patch.setattr(TorchEngine, "step", counted)
        train(config, Path.cwd())
    return [after - before for before, after in pairwise(counts)]
