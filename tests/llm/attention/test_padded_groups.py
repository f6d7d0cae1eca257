"""Attention over re-padded groups, by hand: with queries of zero a row is the mean of the values that it sees."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention import padded_groups
from llm.attention.layout import Group, Span, plan_attention
from llm.attention.padded_groups import PaddedAttention, padded_attention

# A prefix of two rows, a branch of two behind it, one row behind both, and a sample that stands alone.
SPANS = [Span(0, 2), Span(2, 2, ((0, 2),)), Span(4, 1, ((0, 2), (2, 2))), Span(5, 3)]
VALUES = [1.0, 3.0, 8.0, 16.0, 12.0, 5.0, 7.0, 9.0]
SEEN = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [5], [5, 6], [5, 6, 7]]
MEANS = [1.0, 2.0, 4.0, 7.0, 8.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("way", ["autograd", "plain", "kept", "fused"])
def test_a_row_sees_itself_and_what_stands_before_it(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heads share one head of keys; a value's gradient is its part of every mean that holds it."""
    monkeypatch.setattr(padded_groups, "SHORT", 0 if way == "fused" else 768)
    plan = plan_attention(SPANS, 8)
    query, key = torch.zeros(8, 2, 4), torch.randn(8, 1, 4, generator=torch.Generator().manual_seed(0))
    value = torch.tensor(VALUES)[:, None, None].expand(8, 1, 4).clone().requires_grad_()
    if way == "autograd":
        found = padded_attention(query, key, value, plan, 0.5, 0.0)
    else:
        found = PaddedAttention.apply(query, key, value, plan, 0.5, scaled_dot_product_attention, way == "kept")
    torch.testing.assert_close(found, torch.tensor(MEANS)[:, None, None].expand(8, 2, 4))
    weights = torch.arange(1.0, 9.0)  # of each row's outputs
    (found * weights[:, None, None]).sum().backward()
    parts = torch.zeros(8)
    for row, seen in enumerate(SEEN):
        parts[seen] += 2 * weights[row] / len(seen)  # two heads
    torch.testing.assert_close(value.grad, parts[:, None, None].expand(8, 1, 4))


def test_a_score_is_scaled_and_weighed_by_softmax() -> None:
    """Scores of 0 and ln 3 are weights of 1/4 and 3/4."""
    plan = plan_attention([Span(0, 2)], 2)
    query, key = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[0.0]], [[torch.tensor(3.0).log() / 2 / 0.5]]])
    value = torch.tensor([[[4.0]], [[8.0]]])
    for found in (
        padded_attention(query, key, value, plan, 0.5, 0.0),
        PaddedAttention.apply(query, key, value, plan, 0.5, scaled_dot_product_attention, False),
    ):
        torch.testing.assert_close(found.flatten(), torch.tensor([4.0, 4 / 4 + 8 * 3 / 4]))


def test_one_call_a_group_is_told_of_dropout_and_who_sees_whom() -> None:
    told: list[dict[str, Any]] = []

    def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
        told.append({"shapes": [tuple(states.shape) for states in (query, key, value)], "mask": mask, **options})
        return query

    states = torch.randn(3, 4, 8), torch.randn(3, 2, 8), torch.randn(3, 2, 8)
    plain = plan_attention([Span(0, 3)], 3)
    assert torch.equal(padded_attention(*states, plain, 0.25, 0.1, sdpa), states[0])
    shapes = [(1, 4, 3, 8)] * 3  # keys and values repeated for their heads
    assert told == [{"shapes": shapes, "mask": None, "dropout_p": 0.1, "is_causal": True, "scale": 0.25}]
    padded_attention(*states, plan_attention([Span(0, 1), Span(1, 2, ((0, 1),))], 3), 0.25, 0.0, sdpa)
    last = told[-1]
    assert last["is_causal"] is False and last["mask"] is not None


def test_the_mask_shows_what_is_before_a_span_and_hides_padding() -> None:
    """Two spans of two rows behind three keys, the second of which sees the last of these alone."""
    rows = torch.zeros(4, dtype=torch.int64)
    group = Group(rows, torch.zeros(10, dtype=torch.int64), 2, 2, 5, pads=torch.tensor([0, 2]))
    assert padded_groups._visible(group).int().tolist() == [
        [[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]],
        [[[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]],
    ]
    alike = Group(rows, torch.zeros(10, dtype=torch.int64), 2, 2, 5)
    assert padded_groups._visible(alike).int().tolist() == [[[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]]]
