"""Packed attention equals transformers' own, one sample at a time, and dense attention with a mask."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM

from llm.attention import padded_groups
from llm.attention.gather_index import BLOCK, padded_width
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
    """transformers alone: one unpacked sequence, its own SDPA, all logits, of which those at targets are returned."""
    with torch.no_grad(), plain_attention(model.llm):
        logits = model.llm(input_ids=torch.from_numpy(sample.ids.astype(np.int64))[None]).logits[0]
    return logits[torch.from_numpy(np.flatnonzero(sample.labels != IGNORED))]


def test_packed_logits_equal_those_of_separate_samples(model: TextModel) -> None:
    with torch.no_grad():
        packed = model.logits(collate(SAMPLES))
    separate = torch.cat([_reference(model, sample) for sample in SAMPLES])
    assert (packed - separate).abs().max() < 2e-6


def dense(query: Tensor, key: Tensor, value: Tensor, spans: list[Span], scale: float) -> Tensor:
    """Attention over all pairs of positions, with a mask made from the spans."""
    positions, heads, _ = query.shape
    mask = torch.zeros(positions, positions, dtype=torch.bool)
    for span in spans:
        own = slice(span.start, span.start + span.length)
        mask[own, own] = torch.ones(span.length, span.length, dtype=torch.bool).tril()
        for start, length in span.before:
            mask[own, start : start + length] = True
    keys, values = (states.repeat_interleave(heads // states.shape[1], 1) for states in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, keys) * scale
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~mask, -torch.inf).softmax(-1), values)


LONG = 2 * BLOCK + 37
LAYOUTS = {
    "keys padded to full vectors": [Span(0, 60), Span(60, 31), Span(91, 29, ((60, 31),)), Span(120, 46)],
    "spans of several blocks": [Span(0, LONG), Span(LONG, LONG - 7), Span(2 * LONG - 7, BLOCK)],
    "branches of one prefix": [
        Span(0, 150),
        Span(150, LONG, ((0, 150),)),
        Span(150 + LONG, LONG - 9, ((0, 150),)),
    ],
    "branches of prefixes of many lengths": [
        Span(0, 30),
        Span(30, 12, ((0, 30),)),
        Span(42, 9, ((0, 30), (30, 12))),
        Span(51, 7, ((0, 30), (30, 12))),
        Span(58, 8, ((0, 30),)),
        Span(66, 10),
    ],
}


def test_keys_are_padded_to_full_vectors_where_that_adds_few() -> None:
    assert [padded_width(keys, torch.bfloat16) for keys in (59, 64, 73, 131, 241)] == [64, 64, 73, 131, 256]
    assert [padded_width(keys, torch.float32) for keys in (46, 60, 33)] == [48, 64, 33]


@pytest.mark.parametrize("spans", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("way", ["plain", "saved", "mixed", "fused", "autograd"])
def test_padded_groups_equal_dense_attention(spans: list[Span], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and gradients of plain products, recomputed or saved; of SDPA for long groups or for all; of autograd."""
    torch.manual_seed(0)
    positions = sum(span.length for span in spans)
    plan = plan_attention(spans, positions)
    shortest = min(group.keys for group in plan.groups)
    monkeypatch.setattr(padded_groups, "SHORT", {"fused": 0, "mixed": shortest}.get(way, 10_000))
    assert any(group.query_padding is not None for group in plan.groups), "no queries are padded"
    inputs = query, key, value = [torch.randn(positions, heads, 8, requires_grad=True) for heads in (6, 2, 2)]
    weights = torch.randn(positions, 6, 8)
    if way == "autograd":
        mine = padded_attention(query, key, value, plan, 0.3, 0.0)
    else:
        mine = PaddedAttention.apply(query, key, value, plan, 0.3, scaled_dot_product_attention, way != "plain")
    truth = dense(query, key, value, spans, 0.3)
    found, expected = (
        (attended, *torch.autograd.grad((attended * weights).sum(), inputs)) for attended in (mine, truth)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_attention_between_samples_changes_logits(model: TextModel) -> None:
    batch = collate(SAMPLES)
    leaking = plan_attention([Span(0, batch.tokens)], batch.tokens)  # one span: samples attend to those before them
    with torch.no_grad():
        isolated = model.logits(batch)
        object.__setattr__(batch, "attention", leaking)
        leaked = model.logits(batch)
    assert (isolated - leaked).abs().max() > 1e-2


def test_similar_spans_share_a_group_and_padding_is_bounded() -> None:
    spans, start = [], 0
    for length in (100, 95, 70, 20, 19, 5):
        spans.append(Span(start, length))
        start += length
    plan: AttentionPlan = plan_attention(spans, start)
    assert [(group.count, group.queries) for group in plan.groups] == [(3, 100), (3, 20)]
    assert sum(group.count * group.queries for group in plan.groups) < 1.2 * start


def test_small_differences_in_length_do_not_add_up_to_much_padding() -> None:
    """1,000 spans of 20 to 200 positions in equal steps; all in one group would be mostly padding."""
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
