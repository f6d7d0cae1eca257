"""Operations on meta tensors that were computed before: their results have the same layout again.

The meta kernels of many operations are Python code that takes a hundred times as long as allocating the result, and
a forecast repeats the same operations in every layer.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload


@dataclass(frozen=True, slots=True)
class _Layout:
    """Of a result whose storage is its own, and no larger than needed."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def allocated(self) -> Tensor:
        """A new tensor of this layout, on meta."""
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class LayoutMemo:
    """Runs operations; one that had equal arguments before is replaced by the allocation of its results.

    Only operations on meta tensors alone that change no argument and whose results share no storage: with each other or
    with an argument. Such results depend on the layouts of the arguments and nothing else.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[_Layout | None, ...] | _Layout | None] = {}
        self._changing: dict[OpOverload, bool] = {}

    def run(self, func: OpOverload, args: tuple[Any, ...], options: dict[str, Any]) -> object:
        """The result of the operation; where the memo holds None, the gradient is absent."""
        key = self._key(func, args, options)
        if key is None:
            return func(*args, **options)
        if key in self._known:
            known = self._known[key]
            if isinstance(known, _Layout):
                return known.allocated()
            if known is not None:
                return tuple(layout and layout.allocated() for layout in known)
            return func(*args, **options)
        result = func(*args, **options)
        self._known[key] = _layouts(result, [*args, *options.values()])
        return result

    def _key(self, func: OpOverload, args: tuple[Any, ...], options: dict[str, Any]) -> Hashable | None:
        """What decides about the layout of a result; None for an operation that is always run."""
        changing = self._changing.get(func)
        if changing is None:
            changing = self._changing[func] = func._schema.is_mutable
        if changing:
            return None
        described = _described((*args, *options.values()))
        return None if described is None else (func, tuple(options), described)


def _described(values: Sequence[Any]) -> tuple[Hashable, ...] | None:
    """Arguments as they decide about layouts; None if one of them is a tensor with values, or of another class."""
    found: list[Hashable] = []
    for value in values:
        if isinstance(value, Tensor):
            if type(value) not in (Tensor, nn.Parameter) or not value.is_meta:
                return None
            found.append((value.shape, value.stride(), value.dtype))
        elif isinstance(value, (list, tuple)):
            inner = _described(value)
            if inner is None:
                return None
            found.append(inner)
        else:
            found.append((type(value), value))  # 1, 1.0 and True are equal
    return tuple(found)


def _layouts(result: object, arguments: Sequence[Any]) -> tuple[_Layout | None, ...] | _Layout | None:
    """The layouts of a result, in its form; None if it cannot be made from them."""
    leaves = result if isinstance(result, tuple) else (result,)
    taken = set(_storages(arguments))
    layouts: list[_Layout | None] = []
    for leaf in leaves:
        if leaf is None:
            layouts.append(None)
            continue
        if type(leaf) is not Tensor or not leaf.is_meta or leaf.storage_offset():
            return None
        storage = leaf.untyped_storage()
        layout = _Layout(tuple(leaf.shape), leaf.stride(), leaf.dtype)
        if storage._cdata in taken or storage.nbytes() != layout.allocated().untyped_storage().nbytes():
            return None
        taken.add(storage._cdata)
        layouts.append(layout)
    return tuple(layouts) if isinstance(result, tuple) else layouts[0]


def _storages(values: Sequence[Any]) -> list[int]:
    """The storages of tensors among arguments, and in lists among them."""
    found: list[int] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value.untyped_storage()._cdata)
        elif isinstance(value, (list, tuple)):
            found += _storages(value)
    return found
