"""Results from the memo have the layouts that torch gives, and share storage where torch's do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from llm.planning.allocation_tracker import AllocationTracker
from llm.planning.layout_memo import LayoutMemo

aten = torch.ops.aten
WIDE, TALL, TURNED = (torch.empty(size, device="meta") for size in ((3, 5), (3, 1), (5, 3)))
IMAGES = torch.empty(2, 3, 8, 8, device="meta").to(memory_format=torch.channels_last)
WEIGHT, GRADIENT = torch.empty(4, 3, 3, 3, device="meta"), torch.empty(2, 4, 6, 6, device="meta")
NAMED: dict[str, Any] = {"dtype": torch.bfloat16}
CALLS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "broadcast": (aten.add.Tensor, (WIDE, TALL), {}),
    "turned": (aten.mul.Tensor, (WIDE, TURNED.t()), {}),
    "int scalar": (aten.mul.Scalar, (WIDE.int(), 2), {}),
    "float scalar": (aten.mul.Scalar, (WIDE.int(), 2.0), {}),
    "bool scalar": (aten.mul.Scalar, (WIDE.bool(), True), {}),
    "keyword": (aten._to_copy.default, (WIDE,), NAMED),
    "another keyword": (aten._to_copy.default, (WIDE,), {"dtype": torch.float16}),
    "three results": (aten.native_layer_norm.default, (WIDE, [5], None, None, 1e-5), {}),
    "no gradient": (
        aten.convolution_backward.default,
        (GRADIENT, IMAGES, WEIGHT, [0], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]),
        {},
    ),
    "channels last": (aten.relu.default, (IMAGES,), {}),
    "list": (aten.cat.default, ([WIDE, WIDE, TALL], 1), {}),
    "longer list": (aten.cat.default, ([WIDE, WIDE, TALL, TALL], 1), {}),
    "view": (aten.view.default, (WIDE, [5, 3]), {}),
    "view without a name": (aten._unsafe_view.default, (WIDE, [15]), {}),
    "slice": (aten.slice.Tensor, (WIDE, 0, 1, 3), {}),
    "in place": (aten.add_.Tensor, (WIDE, TALL), {}),
    "several views": (aten.split.Tensor, (WIDE, 2, 1), {}),
    "number": (aten.sym_size.int, (WIDE, 0), {}),
}


def leaves(result: object) -> list[Any]:
    return [*result] if isinstance(result, (list, tuple)) else [result]


def described(result: object, arguments: tuple[Any, ...]) -> list[object]:
    """Layouts and sizes of storages, and whether each storage is that of the first argument."""
    first = arguments[0] if isinstance(arguments[0], Tensor) else arguments[0][0]
    storage = first.untyped_storage()._cdata
    return [_layout(one, storage) if isinstance(one, Tensor) else one for one in leaves(result)]


def _layout(one: Tensor, storage: int) -> tuple[object, ...]:
    own = one.untyped_storage()
    shared = own._cdata == storage
    return one.shape, one.stride(), one.dtype, one.device.type, one.storage_offset(), own.nbytes(), shared


@pytest.mark.parametrize("name", CALLS)
def test_results_are_those_of_torch(name: str) -> None:
    """In a memo that has seen all the other calls; each of them twice before."""
    memo = LayoutMemo()
    for func, args, options in [*CALLS.values()] * 2:
        memo.run(func, args, options)
    func, args, options = CALLS[name]
    found, expected = memo.run(func, args, options), func(*args, **options)
    assert type(found) is type(expected)
    assert described(found, args) == described(expected, args)


def test_a_result_is_new_each_time_and_tensors_with_values_are_computed() -> None:
    memo = LayoutMemo()
    first, second = (memo.run(aten.add.Tensor, (WIDE, TALL), {}) for _ in range(2))
    assert isinstance(first, Tensor) and isinstance(second, Tensor)
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata
    for value in (1.0, 2.0):
        one = torch.full((3,), value)
        total = memo.run(aten.add.Tensor, (one, one), {})
        assert isinstance(total, Tensor) and total.tolist() == [2 * value] * 3
    mixed = [memo.run(aten.mul.Tensor, (WIDE, torch.tensor(2.0)), {}) for _ in range(2)]
    assert all(isinstance(one, Tensor) and one.is_meta for one in mixed)


def test_a_repeated_operation_is_computed_once() -> None:
    seen: list[object] = []

    class Noted:
        """In place of an operation."""

        _schema = aten.add.Tensor._schema

        def __call__(self, *args: Any) -> object:
            seen.append(args)
            return aten.add.Tensor(*args)

    memo, noted = LayoutMemo(), Noted()
    for other in (TALL, TALL, WIDE, TALL, WIDE):
        memo.run(noted, (WIDE, other), {})
    assert len(seen) == 2


def test_a_tracker_counts_what_is_allocated() -> None:
    tracker = AllocationTracker()
    with tracker:
        kept = [WIDE + TALL for _ in range(3)]
        assert tracker.live["activations"] == 3 * 15 * 4
        del kept[1:]
        assert tracker.live["activations"] == 15 * 4 and tracker.peak == 3 * 15 * 4
