"""Values of tensors on the meta device that depend on no weight: ids, positions, grids of images, masks.

A forecast runs a model on meta tensors, which have shapes and no values. Models of images ask for values in between:
how many patches an image has, which positions are tokens of images. Inside `KnownValues`, tensors that were computed
from numbers alone keep their values on the CPU, storage by storage, and reading one (`item`, `tolist`, `nonzero`, a
mask as an index) works as it does in training. What is computed with weights has no values, as before.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from llm.model.meta_model import META

LARGEST = 2**26  # elements of a tensor made from nothing whose values are kept
_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)


class KnownValues(TorchDispatchMode):
    """Inside, tensors on the meta device that depend on no weight have values.

    Tensors on the CPU have theirs, and keep them when they are moved to the meta device.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # super().__init__() would be an untyped call; mypy allows it by this name
        self._values: dict[int, torch.UntypedStorage] = {}  # of a storage on the meta device

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        """Run an operation on values where all of its tensors have them, on shapes otherwise."""
        options = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        if not all(self._is_known(tensor) for tensor in tensors) or not (tensors or _is_small(args)):
            return self._without_values(func, args, options)
        device = options.get("device") or (tensors[0].device if tensors else torch.device("cpu"))
        on_cpu = {key: torch.device("cpu") if key == "device" else value for key, value in options.items()}
        with _disable_current_modes():
            found = func(*tree_map_only(Tensor, self._value, args), **tree_map_only(Tensor, self._value, on_cpu))
        if any(result.alias_info is not None for result in func._schema.returns):
            return func(*args, **options)  # a view, or the changed tensor: its storage has values
        return tree_map_only(Tensor, self._face, found) if torch.device(device) == META else found

    def _without_values(self, func: OpOverload, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        """Run an operation on shapes. A tensor that it changes has no values from now on."""
        for place, declared in enumerate(func._schema.arguments[: len(args)]):
            if declared.alias_info is not None and declared.alias_info.is_write:
                for tensor in tree_leaves(args[place]):
                    self._values.pop(tensor.untyped_storage()._cdata, None)
        if func in _INDEXING:
            args = (args[0], self._numbered(args[1]), *args[2:])
        return func(*args, **options)

    def _numbered(self, indices: list[Tensor | None]) -> list[Tensor | None]:
        """Indices without masks: the numbers of the positions that a mask selects."""
        numbers: list[Tensor | None] = []
        for index in indices:
            if index is None or not self._is_known(index):
                numbers.append(index)
                continue
            with _disable_current_modes():
                value = self._value(index)
                found = value.nonzero().unbind(1) if value.dtype == torch.bool else (value,)
            numbers += [self._face(one) for one in found]
        return numbers

    def _is_known(self, tensor: Tensor) -> bool:
        return not tensor.is_meta or tensor.untyped_storage()._cdata in self._values

    def _value(self, tensor: Tensor) -> Tensor:
        """A known tensor on the CPU."""
        if not tensor.is_meta:
            return tensor
        stored = self._values[tensor.untyped_storage()._cdata]
        place = (tensor.storage_offset(), tensor.size(), tensor.stride())
        return torch.empty(0, dtype=tensor.dtype, device="cpu").set_(stored, *place)

    def _face(self, value: Tensor) -> Tensor:
        """A tensor on the meta device with these values."""
        face = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=META)
        storage = face.untyped_storage()
        self._values[storage._cdata] = value.untyped_storage()
        weakref.finalize(storage, self._values.pop, storage._cdata, None)
        return face


class NumbersOnCpu(TorchFunctionMode):
    """Inside, `torch.tensor` makes its tensors on the CPU and moves them, so that `KnownValues` sees their values.

    Made on the meta device at once, they would have none. Entered after META and within `KnownValues`.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Make a tensor of numbers on the CPU first; run anything else unchanged."""
        options = kwargs or {}
        if func not in (torch.tensor, torch.as_tensor) or options.get("device", META) != META:
            return func(*args, **options)
        with torch._C.DisableTorchFunction():
            return func(*args, **options | {"device": "cpu"}).to(META)


def _is_small(args: tuple[Any, ...]) -> bool:
    """Whether a tensor that an operation makes from these numbers is small enough to keep its values."""
    sizes = [leaf for leaf in tree_leaves(args) if isinstance(leaf, int)]
    return torch.Size(sizes).numel() <= LARGEST
