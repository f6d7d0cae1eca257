"""Attention over padded groups by hand: with queries of zero an output is the mean of the values attended to."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention import padded_groups
from llm.attention.layout import Group, Span, plan_attention
from llm.attention.padded_groups import PaddedAttention, padded_attention

# A prefix of two positions, a branch of two that continues it, one position that continues both, and a plain sample.
SPANS = [Span(0, 2), Span(2, 2, ((0, 2),)), Span(4, 1, ((0, 2), (2, 2))), Span(5, 3)]
VALUES = [1.0, 3.0, 8.0, 16.0, 12.0, 5.0, 7.0, 9.0]
ATTENDED = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [5], [5, 6], [5, 6, 7]]
MEANS = [1.0, 2.0, 4.0, 7.0, 8.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("way", ["autograd", "plain", "saved", "fused"])
def test_a_position_attends_to_itself_and_its_prefixes(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two query heads share a key-value head. The gradient of a value is its share in each mean that contains it."""
    monkeypatch.setattr(padded_groups, "SHORT", 0 if way == "fused" else 768)
    plan = plan_attention(SPANS, 8)
    query, key = torch.zeros(8, 2, 4), torch.randn(8, 1, 4, generator=torch.Generator().manual_seed(0))
    value = torch.tensor(VALUES)[:, None, None].expand(8, 1, 4).clone().requires_grad_()
    if way == "autograd":
        found = padded_attention(query, key, value, plan, 0.5, 0.0)
    else:
        found = PaddedAttention.apply(query, key, value, plan, 0.5, scaled_dot_product_attention, way == "saved")
    torch.testing.assert_close(found, torch.tensor(MEANS)[:, None, None].expand(8, 2, 4))
    weights = torch.arange(1.0, 9.0)  # of each position's outputs
    (found * weights[:, None, None]).sum().backward()
    parts = torch.zeros(8)
    for position, attended in enumerate(ATTENDED):
        parts[attended] += 2 * weights[position] / len(attended)  # two heads
    torch.testing.assert_close(value.grad, parts[:, None, None].expand(8, 1, 4))


def test_scores_are_scaled_and_softmaxed() -> None:
    """Scores of 0 and ln 3 are weights of 1/4 and 3/4."""
    plan = plan_attention([Span(0, 2)], 2)
    query, key = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[0.0]], [[torch.tensor(3.0).log() / 2 / 0.5]]])
    value = torch.tensor([[[4.0]], [[8.0]]])
    for found in (
        padded_attention(query, key, value, plan, 0.5, 0.0),
        PaddedAttention.apply(query, key, value, plan, 0.5, scaled_dot_product_attention, False),
    ):
        torch.testing.assert_close(found.flatten(), torch.tensor([4.0, 4 / 4 + 8 * 3 / 4]))


def test_one_sdpa_call_a_group_gets_dropout_and_mask() -> None:
    calls: list[dict[str, Any]] = []

    def sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
        calls.append({"shapes": [tuple(states.shape) for states in (query, key, value)], "mask": mask, **options})
        return query

    states = torch.randn(3, 4, 8), torch.randn(3, 2, 8), torch.randn(3, 2, 8)
    plain = plan_attention([Span(0, 3)], 3)
    assert torch.equal(padded_attention(*states, plain, 0.25, 0.1, sdpa), states[0])
    shapes = [(1, 4, 3, 8)] * 3  # keys and values repeated for their heads
    assert calls == [{"shapes": shapes, "mask": None, "dropout_p": 0.1, "is_causal": True, "scale": 0.25}]
    padded_attention(*states, plan_attention([Span(0, 1), Span(1, 2, ((0, 1),))], 3), 0.25, 0.0, sdpa)
    last = calls[-1]
    assert last["is_causal"] is False and last["mask"] is not None


def test_attention_mask_allows_the_prefix_and_excludes_padding() -> None:
    """Two spans of two positions with up to three keys before them: all three for the first, one for the second."""
    queries = torch.zeros(4, dtype=torch.int64)
    group = Group(queries, torch.zeros(10, dtype=torch.int64), 2, 2, 5, left_padding=torch.tensor([0, 2]))
    assert padded_groups._attention_mask(group).int().tolist() == [
        [[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]],
        [[[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]],
    ]
    unpadded = Group(queries, torch.zeros(10, dtype=torch.int64), 2, 2, 5)
    assert padded_groups._attention_mask(unpadded).int().tolist() == [[[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]]]
