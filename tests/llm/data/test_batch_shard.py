"""Sequence parallelism: the shard of a pack for each process, and the exchange of positions for heads."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llm.attention import ulysses
from llm.attention.interface import packed_attention
from llm.attention.ulysses import Exchange
from llm.data.batch import collate
from llm.data.batch_shard import BatchShard, shard_batch
from llm.encoding.encoder import IGNORED, Sample


def sample(*labels: int) -> Sample:
    ids = np.arange(10, 10 + len(labels), dtype=np.int32)
    return Sample(ids, np.array(labels, np.int32))


def fields_of(shard: BatchShard) -> tuple[Any, ...]:
    return (
        shard.input_ids.tolist(),
        shard.position_ids.tolist(),
        shard.target_indices.tolist(),
        shard.targets.tolist(),
        shard.samples,
    )


def test_shards_by_hand() -> None:
    """Five tokens for two processes are three each, the last of them padding."""
    batch = collate([sample(IGNORED, 12), sample(11, IGNORED, 13)], (4, 7))
    assert fields_of(shard_batch(batch, 2, 0)) == ([[10, 11, 10]], [[0, 1, 0]], [1, 2], [12, 11], (4, 7))
    assert fields_of(shard_batch(batch, 2, 1)) == ([[11, 12, 0]], [[1, 2, 0]], [1], [13], (4, 7))
    last = shard_batch(batch, 2, 1)
    assert last.tokens == 5 and last.attention == Exchange(batch.attention, 2, 3, 5)
    assert last.muted().targets.tolist() == [IGNORED] and last.muted().target_indices.tolist() == [1]
    assert fields_of(last.to(torch.device("cpu"))) == fields_of(last)
    assert last.to(torch.device("meta")).input_ids.is_meta and last.to(torch.device("meta")).targets.is_meta


def test_a_shard_may_have_no_target() -> None:
    batch = collate([sample(11, IGNORED, IGNORED, IGNORED)])
    assert [shard_batch(batch, 4, rank).targets.tolist() for rank in range(4)] == [[11], [], [], []]


class Processes:
    """Replaces the all-to-all exchange: a first call for each process records what it sends, a second one receives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Tensor] = []
        self.receives: int | None = None  # the rank that receives; None: calls are recorded
        monkeypatch.setattr(ulysses, "_all_to_all", self.all_to_all)

    def all_to_all(self, states: Tensor, ranks: int) -> Tensor:
        assert len(states) == ranks, "a part for each process"
        if self.receives is None:
            self.sent.append(states)
            return states
        return torch.stack([states[self.receives] for states in self.sent])

    def of_all(self, exchange: Any, parts: list[Tensor]) -> list[Tensor]:
        self.sent, self.receives = [], None
        for part in parts:
            exchange(part)
        found = []
        for rank, part in enumerate(parts):
            self.receives = rank
            found.append(exchange(part))
        return found


@pytest.mark.parametrize(("ranks", "shard", "total"), [(2, 3, 5), (3, 2, 6), (2, 4, 8)])
@pytest.mark.parametrize("groups", [1, 2])
def test_positions_are_exchanged_for_heads_and_back(
    monkeypatch: pytest.MonkeyPatch, ranks: int, shard: int, total: int, groups: int
) -> None:
    """Each process receives all positions of its heads, without padding; attention's output is exchanged back."""
    processes, heads, width = Processes(monkeypatch), 2 * ranks, 3
    exchange = Exchange(None, ranks, shard, total)
    states = torch.randn(1, heads, ranks * shard, width)
    parts = [states[:, :, rank * shard : (rank + 1) * shard] for rank in range(ranks)]
    found = processes.of_all(lambda part: exchange.gather_positions(part, heads), parts)
    for rank, got in enumerate(found):
        assert torch.equal(got, states[:, 2 * rank : 2 * rank + 2, :total])

    attended = torch.randn(1, total, heads, width)
    shares = [attended[:, :, 2 * rank : 2 * rank + 2] for rank in range(ranks)]
    for rank, got in enumerate(processes.of_all(exchange.gather_heads, shares)):
        expected = torch.zeros(1, ranks * shard, heads, width)
        expected[:, :total] = attended
        assert torch.equal(got, expected[:, rank * shard : (rank + 1) * shard])


def test_key_heads_are_repeated_if_processes_do_not_divide_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key head, four query heads, two processes: both receive the same keys."""
    processes, exchange = Processes(monkeypatch), Exchange(None, 2, 2, 4)
    keys = torch.randn(1, 1, 4, 3)
    parts = [keys[:, :, :2], keys[:, :, 2:]]
    for got in processes.of_all(lambda part: exchange.gather_positions(part, 4), parts):
        assert torch.equal(got, keys.expand(1, 2, 4, 3))


def test_all_to_all_and_its_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One process of three; the others send back ten times what they received."""

    def exchanged(out: Tensor, states: Tensor, group: object) -> None:
        assert group == "three" and states.is_contiguous()
        out.copy_(10 * states)

    monkeypatch.setattr(ulysses.group, "all_to_all_single", exchanged)
    monkeypatch.setattr(ulysses, "_group_of", lambda ranks: {3: "three"}[ranks])
    states = torch.arange(6.0).reshape(2, 3).t().requires_grad_()
    received = ulysses._all_to_all(states, 3)
    assert torch.equal(received, 10 * states)
    received.backward(torch.tensor([[1.0, 2.0]] * 3))
    assert states.grad is not None and states.grad.tolist() == [[10.0, 20.0]] * 3


def test_processes_that_share_a_pack_are_consecutive(monkeypatch: pytest.MonkeyPatch) -> None:
    from llm.distributed import Ranks

    monkeypatch.setattr(ulysses.group, "new_group", lambda members: members)
    monkeypatch.setattr(ulysses.distributed, "ranks", lambda: Ranks(rank=3, world=6))
    assert ulysses._group_of.__wrapped__(2) == [2, 3]
    assert ulysses._group_of.__wrapped__(3) == [3, 4, 5]


def test_exchange_gets_the_number_of_query_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four query heads and two key heads: the exchange repeats keys by this number."""
    asked: list[int] = []

    def gather_positions(exchange: Exchange, states: Tensor, heads: int) -> Tensor:
        asked.append(heads)
        return states

    monkeypatch.setattr(Exchange, "gather_positions", gather_positions)
    monkeypatch.setattr(Exchange, "gather_heads", lambda exchange, attended: attended)
    plan = collate([sample(11, 12, 13)]).attention
    query, key = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8)
    shared, _ = packed_attention(torch.nn.Identity(), query, key, key, None, packed=Exchange(plan, 1, 3, 3))
    alone, _ = packed_attention(torch.nn.Identity(), query, key, key, None, packed=plan)
    assert asked == [4, 4, 4] and torch.equal(shared, alone)
