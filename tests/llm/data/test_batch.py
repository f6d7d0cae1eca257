"""Packs as tensors, by hand: ids, positions and spans of samples and of their branches; muted and moved batches."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llm.attention.layout import Span
from llm.data.batch import collate, positions_of, spans_of
from llm.encoding.encoder import IGNORED, Sample

N = IGNORED
PLAIN = Sample(np.array([11, 12, 13], np.int32), np.array([N, 13, 14], np.int32))
# A prefix of two tokens; a branch of two; one token that continues that branch; and a second branch of the prefix.
TREE = Sample(
    np.array([1, 2, 3, 4, 5, 6, 7, 8], np.int32),
    np.array([N, N, N, 30, 31, N, 32, 33], np.int32),
    branches=(2, 4, 5),
    parents=(0, 1, 0),
)


def test_positions_continue_from_the_parent_node() -> None:
    assert positions_of(PLAIN).tolist() == [0, 1, 2]
    assert positions_of(TREE).tolist() == [0, 1, 2, 3, 4, 2, 3, 4]
    flat = replace(TREE, parents=())  # all continue the prefix
    assert positions_of(flat).tolist() == [0, 1, 2, 3, 2, 2, 3, 4]
    assert positions_of(replace(TREE, branches=(0, 3), parents=())).tolist() == [0, 1, 2, 0, 1, 2, 3, 4], "no prefix"


def test_spans_attend_to_their_ancestors() -> None:
    assert spans_of(PLAIN, 7) == [Span(7, 3)]
    prefix = (10, 2)
    assert spans_of(TREE, 10) == [
        Span(10, 2),
        Span(12, 2, (prefix,)),
        Span(14, 1, (prefix, (12, 2))),
        Span(15, 3, (prefix,)),
    ]
    assert spans_of(replace(TREE, branches=(0, 3), parents=()), 10) == [Span(10, 3), Span(13, 5)], "no prefix"


def test_a_pack_by_hand() -> None:
    batch = collate([PLAIN, TREE], (7, 9))
    assert batch.input_ids.tolist() == [[11, 12, 13, 1, 2, 3, 4, 5, 6, 7, 8]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 2, 3, 4]]
    assert batch.cu_seqlens.tolist() == [0, 3, 11] and batch.cu_seqlens.dtype == torch.int32
    assert (batch.tokens, batch.samples) == (11, (7, 9))
    assert batch.target_indices.tolist() == [1, 2, 6, 7, 9, 10] and batch.targets.tolist() == [13, 14, 30, 31, 32, 33]
    tensors = (batch.input_ids, batch.position_ids, batch.target_indices, batch.targets)
    assert {tensor.dtype for tensor in tensors} == {torch.int64}
    seen = batch.attention.lengths
    assert seen.cu_queries.tolist() == [0, 3, 5, 7, 8, 11] and seen.cu_keys.tolist() == [0, 3, 5, 9, 14, 19]
    assert seen.key_positions is not None
    assert seen.key_positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 3, 4, 5, 6, 7, 3, 4, 8, 9, 10]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": torch.empty(0), "target_indices": torch.empty(0)}, "no gradient"),
        ({"targets": torch.zeros(3)}, "one index a target"),
        ({"position_ids": torch.zeros(1, 2)}, "one position a token"),
        ({"input_ids": torch.zeros(1, 2), "position_ids": torch.zeros(1, 2)}, "every token attends once"),
    ],
)
def test_fields_that_do_not_agree_are_refused(changes: dict[str, Tensor], message: str) -> None:
    batch = collate([PLAIN])
    with pytest.raises(AssertionError, match=message):
        replace(batch, **changes)


def test_a_pack_without_a_target_is_refused() -> None:
    with pytest.raises(AssertionError, match="no gradient"):
        collate([replace(PLAIN, labels=np.full(3, N, np.int32))])


def test_a_muted_batch_differs_in_its_targets_only() -> None:
    batch = collate([PLAIN, TREE], (7, 9))
    muted = batch.muted()
    assert muted.targets.tolist() == [N] * 6 and muted.targets.dtype == torch.int64
    assert replace(muted, targets=batch.targets) == batch, "all other fields are equal"
    assert batch.targets.tolist() == [13, 14, 30, 31, 32, 33], "the batch itself does not change"


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors of a batch and of its fields."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors_of(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))


def blocking_copies(batch: Any, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Addresses of the tensors that are copied with a wait."""
    found: set[int] = set()
    own = Tensor.to

    def to(tensor: Tensor, *where: Any, **how: Any) -> Tensor:
        if not how.get("non_blocking"):
            found.add(tensor.data_ptr())
        return own(tensor, *where, **how)

    monkeypatch.setattr(Tensor, "to", to)
    batch.to(torch.device("meta"))
    return found


def test_a_copy_to_a_gpu_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, positions, lengths, targets and their indices. The attention plan's own copies are not looked at."""
    batch = collate([PLAIN, TREE], (7, 9))
    own = (batch.input_ids, batch.position_ids, batch.cu_seqlens, batch.target_indices, batch.targets)
    assert not blocking_copies(batch, monkeypatch) & {tensor.data_ptr() for tensor in own}


def test_all_tensors_of_a_batch_move() -> None:
    batch = collate([PLAIN, TREE], (7, 9))
    (group,) = batch.attention.groups
    assert group.left_padding is not None and group.query_padding is not None, "every optional tensor is there"
    before, after = list(tensors_of(batch)), list(tensors_of(batch.to(torch.device("meta"))))
    assert len(after) == len(before) == 15
    assert {tensor.device.type for tensor in before} == {"cpu"} and {tensor.device.type for tensor in after} == {"meta"}
    assert [(one.shape, one.dtype) for one in after] == [(one.shape, one.dtype) for one in before]
    same = list(tensors_of(batch.to(torch.device("cpu"))))
    assert all(torch.equal(one, other) for one, other in zip(same, before, strict=True))
