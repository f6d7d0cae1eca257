"""Equal tensors of several models are held once; whatever differs by a bit is not, and no value changes."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vlm.model.shared_tensors import SMALLEST, SharedTensors, stored_bytes

SIDE = 40  # 6,400 bytes a square


class Tied(nn.Module):
    """Two names of one weight, a buffer, and a bias that is too small to be shared."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(SIDE, SIDE), nn.Linear(SIDE, SIDE, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("table", torch.arange(float(SIDE * SIDE)))
        assert self.one.bias.nbytes < SMALLEST


def pair(change: Callable[[Tied], object] = lambda _: None) -> tuple[Tied, Tied]:
    """Two modules of equal values, the second after `change`."""
    first, second = Tied(), Tied()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        change(second)
    return first, second


def adopted(first: nn.Module, second: nn.Module) -> None:
    shared = SharedTensors()
    shared.add(first)
    shared.adopt(second)


def is_one(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr()


def test_equal_tensors_are_held_once_and_ties_stay() -> None:
    first, second = pair()
    alone = stored_bytes([first])
    assert stored_bytes([first, second]) == 2 * alone == 2 * (4 * 2 * SIDE * SIDE + 4 * SIDE)
    adopted(first, second)
    assert is_one(first.one.weight, second.one.weight) and second.other.weight is second.one.weight
    assert is_one(first.get_buffer("table"), second.get_buffer("table"))
    assert first.one.weight is not second.one.weight, "each has a parameter of its own"
    assert stored_bytes([first, second]) == alone + 4 * SIDE, "the biases are two"


def negative_zero(module: Tied) -> None:
    module.one.weight[7, 7] = -0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.one.weight[SIDE - 1, SIDE - 2].add_(1e-6),
        negative_zero,
        lambda module: module.to(torch.bfloat16),
        lambda module: setattr(module.one, "weight", nn.Parameter(module.one.weight.reshape(-1, 2))),
        lambda module: setattr(module.one, "weight", nn.Parameter(module.one.weight.t().contiguous().t())),
    ],
)
def test_what_differs_is_not_shared_and_keeps_its_values(change: Callable[[Tied], object]) -> None:
    def zeroed(module: Tied) -> None:
        module.one.weight[7, 7] = 0.0

    first, second = pair()
    for module in (first, second):
        with torch.no_grad():
            zeroed(module)
    with torch.no_grad():
        change(second)
    before = second.one.weight.detach().clone()
    adopted(first, second)
    assert not is_one(first.one.weight, second.one.weight)
    assert torch.equal(second.one.weight, before) and second.one.weight.dtype == before.dtype


def test_a_nan_is_equal_to_itself() -> None:
    first, second = pair()
    with torch.no_grad():
        for module in (first, second):
            module.one.weight[3, 3] = torch.nan
    adopted(first, second)
    assert is_one(first.one.weight, second.one.weight)


def test_a_tensor_is_found_as_long_as_any_module_has_it() -> None:
    shared, (first, second) = SharedTensors(), pair()
    shared.add(first)
    shared.adopt(second)
    shared.add(second)
    third = Tied()
    third.load_state_dict(second.state_dict())
    del first
    gc.collect()
    shared.adopt(third)
    assert is_one(third.one.weight, second.one.weight)
    del second, third
    gc.collect()
    shared.add(fresh := Tied())
    assert len(shared._known) == 2, "those of closed models are forgotten"
    assert fresh.one.weight.requires_grad
