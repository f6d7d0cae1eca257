"""Varlen kernels: the plan, the arguments of each kernel and the choice. Only the last test needs a GPU."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.attention.layout import Span, plan_attention
from llm.attention.varlen_kernels import HALF, KNOWN, Lengths, describe, find_kernel, kernels, varlen_attention
from tests.llm.attention.test_interface import dense

HEADS, SHARED, WIDTH = 6, 2, 16
# Two plain samples, and a prefix of 9 positions with branches of 4, 11 and 1.
PREFIX = ((13, 9),)
SPANS = [Span(0, 13), Span(13, 9), Span(22, 4, PREFIX), Span(26, 11, PREFIX), Span(37, 1, PREFIX), Span(38, 20)]
POSITIONS = 58


def reference(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
    """A reference of varlen kernels, span by span, with a causal mask aligned to the bottom right."""
    outputs = []
    for index in range(len(lengths.cu_queries) - 1):
        q = query[lengths.cu_queries[index] : lengths.cu_queries[index + 1]]
        own = slice(int(lengths.cu_keys[index]), int(lengths.cu_keys[index + 1]))
        k, v = (states[own].repeat_interleave(HEADS // SHARED, 1) for states in (key, value))
        masked = torch.ones(len(q), len(k)).triu(len(k) - len(q) + 1).bool()
        scores = torch.einsum("qhd,khd->hqk", q, k).mul(scale).masked_fill(masked, -torch.inf)
        outputs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v))
    return torch.cat(outputs)


def states(dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, POSITIONS, WIDTH, generator=draw).to(device, dtype).requires_grad_()
        for heads in (HEADS, SHARED, SHARED)
    )
    return query, key, value


def test_plan_for_kernels_equals_dense_masked_attention() -> None:
    plan, inputs = plan_attention(SPANS, POSITIONS), states()
    query, key, value = (each[0].transpose(0, 1) for each in inputs)
    expected = dense(query, key, value, SPANS, WIDTH**-0.5)[None]
    found = varlen_attention(*inputs, plan.lengths, WIDTH**-0.5, reference)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad((expected * weights).sum(), inputs),
        torch.autograd.grad((found * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_keys_of_a_branch_are_those_of_its_prefix_and_its_own() -> None:
    lengths = plan_attention(SPANS, POSITIONS).lengths
    assert lengths.cu_queries.tolist() == [0, 13, 22, 26, 37, 38, 58]
    assert lengths.cu_keys.tolist() == [0, 13, 22, 35, 55, 65, 85]
    assert lengths.cu_keys.dtype == torch.int32
    assert (lengths.max_queries, lengths.max_keys) == (20, 20)
    assert lengths.key_positions is not None
    assert lengths.key_positions[22:35].tolist() == [*range(13, 22), *range(22, 26)]
    assert plan_attention([Span(0, 5), Span(5, 2)], 7).lengths.key_positions is None, (
        "nothing to gather without branches"
    )


@pytest.mark.parametrize("name", ["flash-attn 4", "flash-attn 3", "flash-attn 2", "torch varlen_attn"])
def test_each_kernel_gets_its_own_arguments_and_a_causal_mask(name: str) -> None:
    received: dict[str, Any] = {}

    def kernel(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        received.update(kwargs, args=args)
        output = reference(query, key, value, plan.lengths, WIDTH**-0.5)
        return (output, None) if name == "flash-attn 4" else output

    plan, inputs = plan_attention(SPANS, POSITIONS), states()
    wrap = {known: wrap for known, _, wrap in KNOWN}[name]
    call = wrap(SimpleNamespace(flash_attn_varlen_func=kernel, varlen_attn=kernel))
    output = varlen_attention(*inputs, plan.lengths, WIDTH**-0.5, call)
    assert output.shape == (1, POSITIONS, HEADS, WIDTH)
    if name == "torch varlen_attn":
        assert received["window_size"] == (-1, 0) and received["enable_gqa"] and received["scale"] == WIDTH**-0.5
        assert received["args"][2:] == (20, 20)
    else:
        assert received["causal"] and received["softmax_scale"] == WIDTH**-0.5
        assert received["cu_seqlens_q"] is plan.lengths.cu_queries and received["max_seqlen_k"] == 20


def test_torchs_kernel_accepts_our_arguments() -> None:
    from inspect import signature

    from torch.nn.attention.varlen import varlen_attn

    signature(varlen_attn).bind(*range(7), scale=1.0, window_size=(-1, 0), enable_gqa=True)


def test_description_names_the_kernel_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "need CUDA" in describe(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    find_kernel.cache_clear()
    found = find_kernel()
    assert found is not None and found.name in describe(torch.device("cuda"))
    assert "bf16 and fp16" in describe(torch.device("cuda"), torch.float32)
    find_kernel.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen kernels need CUDA; this machine has none")
@pytest.mark.parametrize("dtype", HALF)
def test_each_kernel_agrees_with_the_reference_on_cuda(dtype: torch.dtype) -> None:
    plan = plan_attention(SPANS, POSITIONS)
    expected = varlen_attention(*states(), plan.lengths, WIDTH**-0.5, reference)
    for kernel in kernels():
        output = varlen_attention(
            *states(dtype, "cuda"), plan.lengths.to(torch.device("cuda")), WIDTH**-0.5, kernel.call
        )
        torch.testing.assert_close(output.float().cpu(), expected, rtol=0.02, atol=0.02, msg=kernel.name)
