"""Random numbers of a run: own ones for every process, and a checkpoint that goes on with them."""

import pytest
import torch
from torch import Tensor

from llm.distributed import Ranks
from llm.train import rng
from llm.train.rng import restore_rng_states, rng_states, seed_process


@pytest.fixture(autouse=True)
def own_numbers() -> object:
    with torch.random.fork_rng():
        yield


def be(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setattr(rng.distributed, "ranks", lambda: Ranks(rank, world))


def drawn(seed: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.rand(3)


def test_seeds_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process draws what a run of one process draws; the others, and those after a resume, their own."""
    cases = {(0, 0): 7, (2, 0): 7_000_021 + 2, (0, 5): 7_000_021 + 5 * 65_537, (1, 5): 7_000_021 + 5 * 65_537 + 1}
    for (rank, step), seed in cases.items():
        be(monkeypatch, rank, 3)
        seed_process(7, step)
        assert torch.equal(torch.rand(3), drawn(seed)), (rank, step)


def test_numbers_go_on_where_they_were() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    states = rng_states()
    expected = torch.rand(4)
    assert restore_rng_states(states, seed=9, step=2) and torch.equal(torch.rand(4), expected)
    assert restore_rng_states({"cpu": states["cpu"][0]}, seed=9, step=2), "a run of before there were several processes"
    assert torch.equal(torch.rand(4), expected)


def test_each_process_goes_on_with_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(torch.get_rng_state())
    be(monkeypatch, 1, 2)
    assert restore_rng_states({"cpu": states}, seed=9, step=2) and torch.equal(torch.rand(3), drawn(2))


def test_other_numbers_of_processes_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    states = rng_states()
    be(monkeypatch, 1, 2)
    assert not restore_rng_states(states, seed=9, step=2)
    assert torch.equal(torch.rand(3), drawn(9 * 1_000_003 + 2 * 65_537 + 1))


def test_a_cards_numbers_go_on_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process's own card; a checkpoint of cards goes on where there is none."""
    cards = [torch.tensor([number], dtype=torch.uint8) for number in (1, 2)]
    cpu = torch.get_rng_state()
    set_to: list[Tensor] = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", set_to.append)
    be(monkeypatch, 1, 2)
    assert restore_rng_states({"cpu": [cpu, cpu], "cuda": cards}, seed=9, step=2) and set_to == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert restore_rng_states({"cpu": [cpu, cpu]}, seed=9, step=2) and set_to == []
    assert restore_rng_states({"cpu": [cpu, cpu], "cuda": cards}, seed=9, step=2) and set_to == cards[1:]
