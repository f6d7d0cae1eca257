"""Attention of prefix trees in parts, against plain softmax over each row's own keys."""

import pytest
import torch
from torch import Tensor

from llm.attention.backend import READING, TORCH
from llm.attention.cascade import Cascade, cascade_attention
from llm.attention.interface import packed_attention
from llm.attention.layout import Span, plan_attention

# A tree of three levels, a plain span, and a tree whose prefix is long.
SPANS = [
    Span(0, 20),
    Span(20, 7, ((0, 20),)),
    Span(27, 5, ((0, 20), (20, 7))),
    Span(32, 1, ((0, 20), (20, 7))),
    Span(33, 9, ((0, 20),)),
    Span(42, 11),
    Span(53, 300),
    Span(353, 40, ((53, 300),)),
    Span(393, 33, ((53, 300),)),
]
ROWS = 426


def by_hand(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Row by row: softmax over the keys before its span and those of its span up to itself."""
    key, value = (states.repeat_interleave(query.shape[1] // key.shape[1], 1) for states in (key, value))
    output = torch.empty_like(query)
    for span in SPANS:
        before = [place for start, length in span.before for place in range(start, start + length)]
        for row in range(span.start, span.start + span.length):
            keys = [*before, *range(span.start, row + 1)]
            scores = torch.einsum("hd,khd->hk", query[row], key[keys]) * scale
            output[row] = torch.einsum("hk,khd->hd", scores.softmax(-1), value[keys])
    return output


@pytest.mark.parametrize("key_value_heads", [1, 3, 6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_parts_are_the_softmax_over_all_keys(dtype: torch.dtype, tolerance: float, key_value_heads: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(ROWS, heads, 16).to(dtype) for heads in (6, key_value_heads, key_value_heads))
    found = cascade_attention(query, key, value, Cascade._make(tuple(SPANS), ROWS), 0.25)
    expected = by_hand(query.float(), key.float(), value.float(), 0.25)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


def test_it_is_for_reading_where_prefixes_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = [span for span in SPANS if span.start >= 53]
    long = plan_attention([Span(one.start - 53, one.length, tuple((0, 300) for _ in one.before)) for one in tree], 373)
    assert Cascade.of(long) is None, "on average a row has 59 keys before its span"
    short = [Span(0, 300), *(Span(300 + 50 * number, 50, ((0, 300),)) for number in range(8))]
    plan = plan_attention(short, 700)
    assert Cascade.of(plan) is Cascade.of(plan) is not None, "made once"
    query = torch.randn(1, 6, 700, 16)
    module, asked = torch.nn.Module(), list[Tensor]()

    def noted(queries: Tensor, *_: object) -> Tensor:
        asked.append(queries)
        return queries

    monkeypatch.setattr("llm.attention.interface.cascade_attention", noted)
    packed_attention(module, query, query, query, None, packed=plan, backend=TORCH)
    assert not asked, "a backward pass may follow"
    packed_attention(module, query, query, query, None, packed=plan, backend=READING)
    assert asked
