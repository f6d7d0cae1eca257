"""Varlen kernels: the plan they are given, the arguments they get and their choice. Only the last test needs a card."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.attention.layout import Span, plan_attention
from llm.attention.varlen_kernels import HALF, KNOWN, Lengths, describe, find_kernel, kernels, varlen_attention
from tests.llm.attention.test_interface import dense

HEADS, SHARED, WIDTH = 6, 2, 16
# Two plain samples around one prefix of 9 rows with branches of 4, 11 and 1.
PREFIX = ((13, 9),)
SPANS = [Span(0, 13), Span(13, 9), Span(22, 4, PREFIX), Span(26, 11, PREFIX), Span(37, 1, PREFIX), Span(38, 20)]
ROWS = 58


def slow(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
    """What a varlen kernel computes, span by span: causal from the bottom right."""
    outputs = []
    for index in range(len(lengths.cu_queries) - 1):
        q = query[lengths.cu_queries[index] : lengths.cu_queries[index + 1]]
        rows = slice(int(lengths.cu_keys[index]), int(lengths.cu_keys[index + 1]))
        k, v = (states[rows].repeat_interleave(HEADS // SHARED, 1) for states in (key, value))
        hidden = torch.ones(len(q), len(k)).triu(len(k) - len(q) + 1).bool()
        scores = torch.einsum("qhd,khd->hqk", q, k).mul(scale).masked_fill(hidden, -torch.inf)
        outputs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
    return torch.cat(outputs)


def states(dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, ROWS, WIDTH, generator=draw).to(device, dtype).requires_grad_()
        for heads in (HEADS, SHARED, SHARED)
    )
    return query, key, value


def test_the_plan_for_kernels_means_dense_attention_with_a_mask() -> None:
    plan, inputs = plan_attention(SPANS, ROWS), states()
    query, key, value = (rows[0].transpose(0, 1) for rows in inputs)
    expected = dense(query, key, value, SPANS, WIDTH**-0.5)[None]
    spanned = varlen_attention(*inputs, plan.lengths, WIDTH**-0.5, slow)
    torch.testing.assert_close(spanned, expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad((expected * weights).sum(), inputs),
        torch.autograd.grad((spanned * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_branch_has_the_keys_of_its_prefix_before_its_own() -> None:
    lengths = plan_attention(SPANS, ROWS).lengths
    assert lengths.cu_queries.tolist() == [0, 13, 22, 26, 37, 38, 58]
    assert lengths.cu_keys.tolist() == [0, 13, 22, 35, 55, 65, 85]
    assert lengths.cu_keys.dtype == torch.int32
    assert (lengths.max_queries, lengths.max_keys) == (20, 20)
    assert lengths.key_rows is not None
    assert lengths.key_rows[22:35].tolist() == [*range(13, 22), *range(22, 26)]
    assert plan_attention([Span(0, 5), Span(5, 2)], 7).lengths.key_rows is None, "nothing to gather without branches"


@pytest.mark.parametrize("name", ["flash-attn 4", "flash-attn 3", "flash-attn 2", "torch varlen_attn"])
def test_every_kernel_is_called_causally_with_its_own_arguments(name: str) -> None:
    told: dict[str, Any] = {}

    def kernel(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        told.update(kwargs, args=args)
        output = slow(query, key, value, plan.lengths, WIDTH**-0.5)
        return (output, None) if name == "flash-attn 4" else output

    plan, inputs = plan_attention(SPANS, ROWS), states()
    wrap = {known: wrap for known, _, wrap in KNOWN}[name]
    call = wrap(SimpleNamespace(flash_attn_varlen_func=kernel, varlen_attn=kernel))
    output = varlen_attention(*inputs, plan.lengths, WIDTH**-0.5, call)
    assert output.shape == (1, ROWS, HEADS, WIDTH)
    if name == "torch varlen_attn":
        assert told["window_size"] == (-1, 0) and told["enable_gqa"] and told["scale"] == WIDTH**-0.5
        assert told["args"][2:] == (20, 20)
    else:
        assert told["causal"] and told["softmax_scale"] == WIDTH**-0.5
        assert told["cu_seqlens_q"] is plan.lengths.cu_queries and told["max_seqlen_k"] == 20


def test_torchs_own_kernel_has_the_arguments_we_give() -> None:
    from inspect import signature

    from torch.nn.attention.varlen import varlen_attn

    signature(varlen_attn).bind(*range(7), scale=1.0, window_size=(-1, 0), enable_gqa=True)


def test_the_choice_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "need CUDA" in describe(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    find_kernel.cache_clear()
    found = find_kernel()
    assert found is not None and found.name in describe(torch.device("cuda"))
    assert "bf16 and fp16" in describe(torch.device("cuda"), torch.float32), "what is told is what runs"
    find_kernel.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen kernels need CUDA; this machine has none")
@pytest.mark.parametrize("dtype", HALF)
def test_on_a_card_every_kernel_agrees_with_the_slow_one(dtype: torch.dtype) -> None:
    plan = plan_attention(SPANS, ROWS)
    expected = varlen_attention(*states(), plan.lengths, WIDTH**-0.5, slow)
    for kernel in kernels():
        output = varlen_attention(
            *states(dtype, "cuda"), plan.lengths.to(torch.device("cuda")), WIDTH**-0.5, kernel.call
        )
        torch.testing.assert_close(output.float().cpu(), expected, rtol=0.02, atol=0.02, msg=kernel.name)
