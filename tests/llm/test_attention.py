"""Packed = one by one, against transformers' own attention; and the test goes red when isolation is broken."""

import time

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llm.attention import BLOCK, _attend, _attend_short, plain_attention, use_packed_attention
from llm.batch import collate
from llm.encode import IGNORED, Sample
from llm.forward import TextModel
from llm.spans import AttentionPlan, Span, plan_attention

VOCAB = 96


def _random_sample(length: int, seed: int) -> Sample:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCAB, length).astype(np.int32)
    labels = np.where(random.random(length) < 0.5, random.integers(0, VOCAB, length), IGNORED).astype(np.int32)
    labels[-1] = 5
    return Sample(ids, labels)


@pytest.fixture(scope="module")
def model() -> TextModel:
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        vocab_size=VOCAB,
    )
    llm = LlamaForCausalLM(config).eval()
    use_packed_attention(llm)
    return TextModel(llm)


SAMPLES = [_random_sample(length, length) for length in (3, 40, 7, 21, 38, 1, 22)]


def _reference(model: TextModel, sample: Sample) -> torch.Tensor:
    """transformers alone: one unpacked sequence through its own SDPA, full head, then the target rows."""
    with torch.no_grad(), plain_attention(model.llm):
        logits = model.llm(input_ids=torch.from_numpy(sample.ids.astype(np.int64))[None]).logits[0]
    return logits[torch.from_numpy(np.flatnonzero(sample.labels != IGNORED))]


def test_packed_equals_one_by_one(model: TextModel) -> None:
    with torch.no_grad():
        packed = model.logits(collate(SAMPLES))
    separate = torch.cat([_reference(model, sample) for sample in SAMPLES])
    assert (packed - separate).abs().max() < 2e-6


@pytest.mark.parametrize("prefix", [0, 150])
def test_blocks_of_queries_are_fused_attention(prefix: int) -> None:
    """Spans of several blocks, the last of them not whole, alone and behind a prefix; values and gradients."""
    lengths = (2 * BLOCK + 37, 2 * BLOCK + 30)
    starts = [prefix, prefix + lengths[0]]
    before = ((0, prefix),) if prefix else ()
    spans = [Span(start, length, before) for start, length in zip(starts, lengths, strict=True)]
    rows = prefix + sum(lengths)
    plan = plan_attention([*([Span(0, prefix)] if prefix else []), *spans], rows)
    group = max(plan.groups, key=lambda group: group.count)
    assert group.count == 2 and group.keys == prefix + lengths[0]
    query, key, value = (torch.randn(heads, rows, 8, requires_grad=True) for heads in (6, 2, 2))
    weigh = torch.randn(group.count * group.queries, 6, 8)
    found = []
    for attend in (_attend_short, _attend):
        attended = attend(query, key, value, group, 0.3, 0.0)
        found.append((attended, *torch.autograd.grad((attended * weigh).sum(), (query, key, value))))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_broken_isolation_is_seen(model: TextModel) -> None:
    batch = collate(SAMPLES)
    rows = batch.tokens
    leaking = plan_attention([Span(0, rows)], rows)  # one span: every sample sees those before it
    with torch.no_grad():
        isolated = model.logits(batch)
        object.__setattr__(batch, "attention", leaking)
        leaked = model.logits(batch)
    assert (isolated - leaked).abs().max() > 1e-2


def test_similar_spans_share_a_call_and_padding_is_bounded() -> None:
    spans, start = [], 0
    for length in (100, 95, 70, 20, 19, 5):
        spans.append(Span(start, length))
        start += length
    plan: AttentionPlan = plan_attention(spans, start)
    assert [(group.count, group.queries) for group in plan.groups] == [(3, 100), (3, 20)]
    assert sum(group.count * group.queries for group in plan.groups) < 1.2 * start


def test_little_by_little_padding_never_adds_up() -> None:
    """A thousand spans, each hardly shorter than the one before: one group would be padded four times over."""
    lengths = np.linspace(20, 200, 1000).astype(int).tolist()
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    began = time.process_time()
    plan = plan_attention([Span(start, length) for start, length in zip(starts, lengths, strict=False)], starts[-1])
    assert time.process_time() - began < 1
    pairs = sum(group.count * group.queries * group.keys for group in plan.groups)
    assert pairs < 1.15 * sum(length**2 for length in lengths) and len(plan.groups) < 60


def test_short_branches_are_not_padded_to_a_long_one() -> None:
    before = ((0, 55),)
    spans = [Span(0, 55), *(Span(55 + 5 * n, 5, before) for n in range(60)), Span(355, 30, before)]
    groups = plan_attention(spans, 385).groups
    assert sorted((group.count, group.queries) for group in groups) == [(2, 55), (60, 5)]


def test_every_row_must_belong_to_a_span() -> None:
    with pytest.raises(AssertionError, match="no span"):
        plan_attention([Span(0, 3)], 4)
