"""Who sees whom, as index tensors: groups, padding and places by hand, and the cheapest groups by trying all."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.attention import layout as module
from llm.attention.layout import AttentionPlan, Span, plan_attention


def rows_of(plan: AttentionPlan) -> list[tuple[list[int], list[int]]]:
    """Rows of each group's queries and keys."""
    return [(group.query_rows.tolist(), group.key_rows.tolist()) for group in plan.groups]


def test_a_shorter_span_is_filled_up_with_its_last_row() -> None:
    plan = plan_attention([Span(0, 3), Span(3, 2)], 5)
    assert rows_of(plan) == [([0, 1, 2, 3, 4, 4],) * 2]
    (group,) = plan.groups
    assert (group.count, group.queries, group.keys, group.prefix) == (2, 3, 3, 0)
    assert group.pads is None and group.behind is not None and group.behind.tolist() == [5]
    assert (plan.before.tolist(), plan.within.tolist()) == ([0, 0, 0, 3, 3], [0, 1, 2, 0, 1])
    assert plan.padded.tolist() == [3] * 5
    assert plan.places(1).tolist() == [0, 1, 2, 3, 4]
    # Two heads of three rows each for the first span, then two for the second.
    assert plan.places(2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10]


def test_spans_of_one_length_are_not_padded() -> None:
    (group,) = plan_attention([Span(0, 2), Span(2, 2)], 4).groups
    assert group.pads is None and group.behind is None and group.query_rows.tolist() == [0, 1, 2, 3]


def test_what_a_span_sees_before_stands_before_its_own_and_is_filled_up_on_the_left() -> None:
    """A prefix of two rows, a branch of two behind it, and one row behind both."""
    spans = [Span(0, 2), Span(2, 2, ((0, 2),)), Span(4, 1, ((0, 2), (2, 2)))]
    assert [span.prefix for span in spans] == [0, 2, 4]
    plan = plan_attention(spans, 5)
    (group,) = plan.groups  # longest first, and of one length those that see most before
    assert group.query_rows.view(3, 2).tolist() == [[2, 3], [0, 1], [4, 4]]
    assert group.key_rows.view(3, 6).tolist() == [[2, 2, 0, 1, 2, 3], [0, 0, 0, 0, 0, 1], [0, 1, 2, 3, 4, 4]]
    assert group.pads is not None and group.pads.tolist() == [2, 4, 0], "keys that a span does not see"
    assert group.behind is not None and group.behind.tolist() == [5] and group.prefix == 4
    assert plan.before.tolist() == [2, 2, 0, 0, 4] and plan.within.tolist() == [0, 1, 0, 1, 0]


def test_groups_stand_behind_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group costs as much as a pair: the short spans share one, the long one stands alone."""
    monkeypatch.setattr(module, "CALLS", 1)
    plan = plan_attention([Span(0, 1), Span(1, 3), Span(4, 1)], 5)
    assert rows_of(plan) == [([1, 2, 3],) * 2, ([0, 4],) * 2]
    assert plan.before.tolist() == [3, 0, 0, 0, 4] and plan.padded.tolist() == [1, 3, 3, 3, 1]
    assert plan.places(2).tolist() == [6, 7, 0, 3, 1, 4, 2, 5, 8, 9]


def cuts(spans: list[Span]) -> Iterator[list[list[Span]]]:
    """Every way to cut a list into runs."""
    if not spans:
        yield []
    for end in range(1, len(spans) + 1):
        for rest in cuts(spans[end:]):
            yield [spans[:end], *rest]


def cost(groups: list[list[Span]]) -> int:
    """Padded pairs of a query and a key, and what a group of its own costs."""
    pairs = 0
    for group in groups:
        queries = max(span.length for span in group)
        pairs += len(group) * queries * (queries + max(span.prefix for span in group))
    return pairs + module.CALLS * len(groups)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200)), min_size=1, max_size=7))
def test_groups_are_the_cheapest_of_all(parts: list[tuple[int, int]]) -> None:
    spans, start = [Span(0, 200)], 200
    for length, prefix in parts:
        spans.append(Span(start, length, ((0, prefix),) if prefix else ()))
        start += length
    groups = plan_attention(spans, start).groups
    found = sum(group.count * group.queries * group.keys + module.CALLS for group in groups)
    ordered = sorted(spans, key=lambda span: (span.length, span.prefix), reverse=True)
    assert found == min(map(cost, cuts(ordered)))


def test_every_row_must_belong_to_a_span() -> None:
    with pytest.raises(AssertionError, match="no span"):
        plan_attention([Span(0, 3)], 4)
