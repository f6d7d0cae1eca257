"""Ranks and collectives in one process; tests/parallel has several."""

import pytest
import torch

from llm import distributed
from llm.distributed import Ranks
from llm.errors import ConfigError, PeerLostError
from vlm.app.launch import free_port


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the only process of a group: what `--nproc 1` makes for ZeRO's offloading on one card."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in ({"WORLD_SIZE": "1", "RANK": "0"} | where).items():
        monkeypatch.setenv(name, value)


def test_without_an_environment_there_is_no_group() -> None:
    with distributed.process_group() as ranks:
        assert ranks == distributed.ranks() == Ranks(0, 1, 0)
        assert not torch.distributed.is_initialized()
        assert distributed.all_reduce_sum(torch.tensor([2.0])).tolist() == [2.0]


@pytest.mark.usefixtures("alone")
def test_a_group_of_one_is_a_group() -> None:
    with distributed.process_group() as ranks:
        assert ranks == Ranks(0, 1, 0) and torch.distributed.is_initialized()
        assert [part.tolist() for part in distributed.all_gather(torch.tensor([3]))] == [[3]]
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("alone")
def test_a_lost_peer_raises_and_other_errors_pass() -> None:
    with (
        pytest.raises(PeerLostError, match="process 0 of 1 lost the others: .*Connection closed by peer"),
        distributed.process_group(),
    ):
        raise RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:19116\nmore")
    with pytest.raises(RuntimeError, match="shapes"), distributed.process_group():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("-1", "1")])
def test_an_impossible_rank_raises(monkeypatch: pytest.MonkeyPatch, rank: str, world: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(ConfigError, match=f"RANK is {rank}, WORLD_SIZE is {world}"):
        distributed.ranks_from_environment()


def test_each_process_computes_on_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "ranks", lambda: Ranks(rank=5, world=8, local=1))
    for there, expected in ((True, torch.device("cuda", 1)), (False, torch.device("cpu"))):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert distributed.device() == expected
