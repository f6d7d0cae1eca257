"""Who holds how many bytes, and when they were most: every storage that torch makes and frees is written down.

On meta tensors autograd builds, keeps and frees exactly what it would with values, so a training step that runs
under a tracker tells the step's highest memory without having any.
"""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class AllocationTracker(TorchDispatchMode):
    """Inside, new storages belong to `part`; `peak` and `at_peak` are the largest sum so far and what made it up.

    `flops` counts multiplications and additions of matrix products and convolutions, two a pair.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # by its name: torch does not annotate it, and is let off by name
        self.part = "activations"
        self.live: Counter[str] = Counter()
        self.peak = 0
        self.at_peak: dict[str, int] = {}
        self.flops = 0
        self._total = 0
        self._known: dict[int, tuple[str, int]] = {}  # by storage: its part and its bytes

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        """Run an operation, write down what it made."""
        options = kwargs or {}
        result = func(*args, **options)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **options, out_val=result)
        return result

    def own(self, tensors: Iterable[Tensor], part: str) -> None:
        """These tensors belong to `part`, whichever they were written under."""
        for tensor in tensors:
            key = tensor.untyped_storage()._cdata
            self._see(tensor)
            was, size = self._known[key]
            self._known[key] = (part, size)
            self.live[was] -= size
            self.live[part] += size

    @contextmanager
    def under(self, part: str) -> Iterator[None]:
        """Inside, what is made belongs to `part`."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known[key] = (self.part, size)
        weakref.finalize(storage, self._freed, key)
        self.live[self.part] += size
        self._total += size
        if self._total > self.peak:
            self.peak, self.at_peak = self._total, dict(self.live)

    def _freed(self, key: int) -> None:
        part, size = self._known.pop(key)
        self.live[part] -= size
        self._total -= size
