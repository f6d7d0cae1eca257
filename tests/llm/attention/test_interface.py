"""Packed = one by one, against transformers' own attention; and the test goes red when isolation is broken."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM

from llm.attention import padded_groups
from llm.attention.gather_index import BLOCK, filled
from llm.attention.interface import plain_attention, use_packed_attention
from llm.attention.layout import AttentionPlan, Span, plan_attention
from llm.attention.padded_groups import PaddedAttention, padded_attention
from llm.data.batch import collate
from llm.encoding.encoder import IGNORED, Sample
from llm.forward.text_model import TextModel

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


def dense(query: Tensor, key: Tensor, value: Tensor, spans: list[Span], scale: float) -> Tensor:
    """Every row against every other, and a mask of who sees whom."""
    rows, heads, _ = query.shape
    seen = torch.zeros(rows, rows, dtype=torch.bool)
    for span in spans:
        own = slice(span.start, span.start + span.length)
        seen[own, own] = torch.ones(span.length, span.length, dtype=torch.bool).tril()
        for start, length in span.before:
            seen[own, start : start + length] = True
    keys, values = (states.repeat_interleave(heads // states.shape[1], 1) for states in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, keys) * scale
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), values)


LONG = 2 * BLOCK + 37
FORESTS = {
    "keys that are filled up to whole vectors": [Span(0, 60), Span(60, 31), Span(91, 29, ((60, 31),)), Span(120, 46)],
    "spans of several blocks": [Span(0, LONG), Span(LONG, LONG - 7), Span(2 * LONG - 7, BLOCK)],
    "branches behind a prefix": [
        Span(0, 150),
        Span(150, LONG, ((0, 150),)),
        Span(150 + LONG, LONG - 9, ((0, 150),)),
    ],
    "branches behind beginnings of many lengths": [
        Span(0, 30),
        Span(30, 12, ((0, 30),)),
        Span(42, 9, ((0, 30), (30, 12))),
        Span(51, 7, ((0, 30), (30, 12))),
        Span(58, 8, ((0, 30),)),
        Span(66, 10),
    ],
}


def test_keys_are_filled_up_to_whole_vectors_where_few_lack() -> None:
    assert [filled(keys, torch.bfloat16) for keys in (59, 64, 73, 131, 241)] == [64, 64, 73, 131, 256]
    assert [filled(keys, torch.float32) for keys in (46, 60, 33)] == [48, 64, 33]


@pytest.mark.parametrize("spans", FORESTS.values(), ids=FORESTS)
@pytest.mark.parametrize("way", ["plain", "kept", "mixed", "fused", "autograd"])
def test_regrouped_is_dense_attention(spans: list[Span], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients: by plain products made again or kept, by SDPA for long groups, for all, by autograd."""
    torch.manual_seed(0)
    rows = sum(span.length for span in spans)
    plan = plan_attention(spans, rows)
    shortest = min(group.keys for group in plan.groups)
    monkeypatch.setattr(padded_groups, "SHORT", {"fused": 0, "mixed": shortest}.get(way, 10_000))
    assert any(group.behind is not None for group in plan.groups), "no padding on the right"
    inputs = query, key, value = [torch.randn(rows, heads, 8, requires_grad=True) for heads in (6, 2, 2)]
    weigh = torch.randn(rows, 6, 8)
    if way == "autograd":
        mine = padded_attention(query, key, value, plan, 0.3, 0.0)
    else:
        mine = PaddedAttention.apply(query, key, value, plan, 0.3, scaled_dot_product_attention, way != "plain")
    truth = dense(query, key, value, spans, 0.3)
    found, expected = ((attended, *torch.autograd.grad((attended * weigh).sum(), inputs)) for attended in (mine, truth))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


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
