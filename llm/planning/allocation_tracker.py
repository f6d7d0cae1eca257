"""Peak memory by part: a dispatch mode that records every storage that torch allocates and frees.

On meta tensors autograd allocates, saves and frees exactly the storages that it would with values, so a training step
on meta tensors under a tracker yields the peak memory of the step without using any.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from llm.planning.layout_memo import LayoutMemo


class AllocationTracker(TorchDispatchMode):
    """Counts the bytes of live storages by part while it is active; new storages belong to `part`.

    `live` is the count now, `peak` the largest total so far and `at_peak` its parts. `flops` counts the operations of
    matrix products and convolutions, two a multiply-add.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # super().__init__() would be an untyped call; mypy allows it by this name
        self.part = "activations"
        self.live: Counter[str] = Counter()
        self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.flops = 0
        self._total = 0
        self._known: dict[int, tuple[str, int]] = {}  # storage -> its part and its bytes
        self._memo = LayoutMemo()

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        """Run an operation and record the storages and the operations of its result."""
        options = kwargs or {}
        with torch._C.DisableTorchFunction():  # python kernels of meta tensors would pass every mode at every call
            result = self._memo.run(func, args, options)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._record(leaf)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **options, out_val=result)
        return result

    def own(self, tensors: Iterable[Tensor], part: str) -> None:
        """Assign the storages of these tensors to `part`, whichever they belonged to."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            self._record(tensor)
            was, size = self._known[key]
            self._known[key] = (part, size)
            self.live[was] -= size
            self.live[part] += size

    @contextmanager
    def under(self, part: str) -> Iterator[None]:
        """Inside, new storages belong to `part`."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def _record(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = (self.part, size)
        weakref.finalize(storage, self._release, key)
        self.live[self.part] += size
        self._total += size
        if self._total > self.peak:
            self.peak, self.at_peak = self._total, dict(self.live)

    def _release(self, key: int) -> None:
        part, size = self._known.pop(key)
        self.live[part] -= size
        self._total -= size
