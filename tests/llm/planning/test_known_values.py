"""Meta tensors that keep the values of numbers: what is read of them is what the same code reads on a CPU."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from llm.model.meta_model import META
from llm.planning.allocation_tracker import AllocationTracker
from llm.planning.known_values import KnownValues, NumbersOnCpu

T = TypeVar("T")
GRID = torch.tensor([[1, 4, 6], [1, 2, 8]])


def _positions(grid: Tensor) -> list[int]:
    """As towers compute them: sizes read as numbers, masks as indices, changed in place."""
    found = []
    for images, height, width in grid.tolist():
        places = torch.arange(height * width).reshape(height, width).T.flatten().repeat(images)
        places[places > torch.tensor(5)] += int(grid.max())
        found.append(places)
    both = torch.cat(found)
    both[:3].add_(100)  # a view: it changes what it is a view of
    repeated = torch.repeat_interleave(both, both.remainder(3))
    kept: list[int] = repeated[repeated != 7].unique().tolist()
    return [*kept, len(torch.where(both > 6)[0])]


def _on_meta(function: Callable[[Tensor], T]) -> T:
    with META, KnownValues(), NumbersOnCpu():
        return function(GRID.to(META))


def test_numbers_have_the_values_that_they_have_on_a_cpu() -> None:
    assert _on_meta(_positions) == _positions(GRID)


def test_weights_have_none_and_masks_of_numbers_select_from_them() -> None:
    weight = torch.empty(24, 5, device=META)

    def selected(grid: Tensor) -> Tensor:
        rows = torch.arange(24) < grid[0].prod() - 20  # 4 rows
        states = weight * 2
        states[rows] = states[rows] + 1
        return states[rows, :]

    assert _on_meta(selected).shape == (4, 5)
    with META, KnownValues(), pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        float(weight.sum())


def test_what_is_overwritten_by_weights_has_no_values_any_more() -> None:
    weight = torch.empty(2, 3, device=META)
    with META, KnownValues(), pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        counts = GRID.to(META).float()
        counts.copy_(weight)
        float(counts.sum())


def test_tensors_with_values_take_no_more_memory_than_without() -> None:
    """[3, 8] fp32 on the meta device, a view of it, and a copy of half of it: 96 and 48 bytes."""

    def peak(*more: KnownValues) -> int:
        with META, (tracker := AllocationTracker()):
            for mode in more:
                with mode:
                    _halved(torch.ones(3, 8))
            if not more:
                _halved(torch.ones(3, 8))
        return tracker.peak

    assert peak(KnownValues()) == peak() == 96 + 48


def _halved(states: Tensor) -> Tensor:
    return states.view(24)[:12].clone()
