"""The loader's thread and the model's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from llm.data.loader import Loader, Schedule
from llm.data.packing import PackPlan


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_loader_is_single_threaded_and_no_other_thread_is() -> None:
    """With a second OpenMP team, more threads than cores, libgomp's threads would sleep at every barrier."""
    corpus: Any = SimpleNamespace(lengths=np.ones(3), targets=np.ones(3))
    plan = PackPlan(tuple((np.array([record]),) for record in range(3)), 1)

    def make(_: tuple[int, ...]) -> int:
        torch.ones(2**20).add_(1)  # would start a team
        return torch.get_num_threads()

    loader: Loader[int] = Loader(corpus, Schedule((plan,), 3), make, lambda batch: batch)
    inside = [(step.batches, torch.get_num_threads()) for step in loader.steps(0)]
    assert inside == [([1], 2)] * 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 2
