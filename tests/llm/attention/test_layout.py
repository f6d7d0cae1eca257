"""Attention plans: groups, padding and index tensors by hand; the cheapest groups by exhaustive search."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.attention import layout as module
from llm.attention.layout import AttentionPlan, Span, plan_attention


def positions_of(plan: AttentionPlan) -> list[tuple[list[int], list[int]]]:
    """The positions of each group's queries and keys."""
    return [(group.query_positions.tolist(), group.key_positions.tolist()) for group in plan.groups]


def test_a_shorter_span_is_padded_with_its_last_position() -> None:
    plan = plan_attention([Span(0, 3), Span(3, 2)], 5)
    assert positions_of(plan) == [([0, 1, 2, 3, 4, 4],) * 2]
    (group,) = plan.groups
    assert (group.count, group.queries, group.keys, group.prefix) == (2, 3, 3, 0)
    assert group.left_padding is None and group.query_padding is not None and group.query_padding.tolist() == [5]
    assert (plan.before.tolist(), plan.within.tolist()) == ([0, 0, 0, 3, 3], [0, 1, 2, 0, 1])
    assert plan.padded.tolist() == [3] * 5
    assert plan.scatter_index(1).tolist() == [0, 1, 2, 3, 4]
    # Two heads of three positions for the first span, then two for the second.
    assert plan.scatter_index(2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10]


def test_spans_of_equal_length_are_not_padded() -> None:
    (group,) = plan_attention([Span(0, 2), Span(2, 2)], 4).groups
    assert group.left_padding is None and group.query_padding is None and group.query_positions.tolist() == [0, 1, 2, 3]


def test_keys_of_a_prefix_come_first_and_are_padded_on_the_left() -> None:
    """A prefix of two positions, a branch of two that continues it, and one position that continues both."""
    spans = [Span(0, 2), Span(2, 2, ((0, 2),)), Span(4, 1, ((0, 2), (2, 2)))]
    assert [span.prefix for span in spans] == [0, 2, 4]
    plan = plan_attention(spans, 5)
    (group,) = plan.groups  # the longest first, and of equal length the one with the longest prefix
    assert group.query_positions.view(3, 2).tolist() == [[2, 3], [0, 1], [4, 4]]
    assert group.key_positions.view(3, 6).tolist() == [[2, 2, 0, 1, 2, 3], [0, 0, 0, 0, 0, 1], [0, 1, 2, 3, 4, 4]]
    assert group.left_padding is not None and group.left_padding.tolist() == [2, 4, 0]
    assert group.query_padding is not None and group.query_padding.tolist() == [5] and group.prefix == 4
    assert plan.before.tolist() == [2, 2, 0, 0, 4] and plan.within.tolist() == [0, 1, 0, 1, 0]


def test_groups_are_concatenated(monkeypatch: pytest.MonkeyPatch) -> None:
    """One group costs as much as one pair: the two short spans share a group, the long one has its own."""
    monkeypatch.setattr(module, "GROUP_COST", 1)
    plan = plan_attention([Span(0, 1), Span(1, 3), Span(4, 1)], 5)
    assert positions_of(plan) == [([1, 2, 3],) * 2, ([0, 4],) * 2]
    assert plan.before.tolist() == [3, 0, 0, 0, 4] and plan.padded.tolist() == [1, 3, 3, 3, 1]
    assert plan.scatter_index(2).tolist() == [6, 7, 0, 3, 1, 4, 2, 5, 8, 9]


def partitions(spans: list[Span]) -> Iterator[list[list[Span]]]:
    """All partitions of a list into runs."""
    if not spans:
        yield []
    for end in range(1, len(spans) + 1):
        for rest in partitions(spans[end:]):
            yield [spans[:end], *rest]


def cost(groups: list[list[Span]]) -> int:
    """The padded pairs of a query and a key of all groups, and the cost of each group."""
    pairs = 0
    for group in groups:
        queries = max(span.length for span in group)
        pairs += len(group) * queries * (queries + max(span.prefix for span in group))
    return pairs + module.GROUP_COST * len(groups)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200)), min_size=1, max_size=7))
def test_no_partition_into_groups_is_cheaper(parts: list[tuple[int, int]]) -> None:
    spans, start = [Span(0, 200)], 200
    for length, prefix in parts:
        spans.append(Span(start, length, ((0, prefix),) if prefix else ()))
        start += length
    groups = plan_attention(spans, start).groups
    found = sum(group.count * group.queries * group.keys + module.GROUP_COST for group in groups)
    ordered = sorted(spans, key=lambda span: (span.length, span.prefix), reverse=True)
    assert found == min(map(cost, partitions(ordered)))


def test_a_position_without_span_is_refused() -> None:
    with pytest.raises(AssertionError, match="no span"):
        plan_attention([Span(0, 3)], 4)
