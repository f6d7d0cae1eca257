"""The head and its loss chunk by chunk, against all logits at once."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GraniteConfig, GraniteForCausalLM

from llm import head as heads
from llm.attention import use_packed_attention
from llm.batch import collate
from llm.encode import IGNORED, Sample
from llm.forward import TextModel
from llm.head import HeadLoss
from llm.loss import summed_loss

WIDTH, VOCABULARY, ROWS = 16, 300, 200


def problem(dtype: torch.dtype, bias: bool, trains: bool) -> tuple[nn.Linear, Tensor, Tensor]:
    """A head, hidden rows and targets, some of them ignored."""
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias).to(dtype).requires_grad_(trains)
    hidden = torch.randn(ROWS, WIDTH).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (ROWS,))
    targets[5:9] = IGNORED
    return head, hidden, targets


def gradients(loss: Tensor, head: nn.Linear, hidden: Tensor) -> list[Tensor]:
    """Of a step's share of the loss, as the loop divides it."""
    wanted = [hidden, *(part for part in head.parameters() if part.requires_grad)]
    return list(torch.autograd.grad(loss / 7, wanted))


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_give_the_loss_and_gradients_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, bias: bool, trains: bool
) -> None:
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    monkeypatch.setitem(heads.WIDE, "cpu", 11 * 4 * VOCABULARY)
    monkeypatch.setattr(heads, "LEAST_ROWS", 37)
    head, hidden, targets = problem(dtype, bias, trains)
    whole, parts = summed_loss(head(hidden), targets), HeadLoss()(hidden, head, targets)
    assert parts.dtype == torch.float32
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    for ours, theirs in zip(gradients(parts, head, hidden), gradients(whole, head, hidden), strict=True):
        assert ours.dtype == theirs.dtype
        if dtype == torch.float32:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        else:  # both round
            one, other = ours.double().flatten(), theirs.double().flatten()
            assert torch.cosine_similarity(one, other, 0) > 0.9999
            assert float(one.norm() / other.norm()) == pytest.approx(1, rel=1.2e-3), "1 / 7 in bf16 is 2e-3 off"


def test_nothing_as_large_as_all_logits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(heads.CHUNK, "cpu", 50 * 4 * VOCABULARY)
    monkeypatch.setattr(heads, "LEAST_ROWS", 1)
    head, hidden, targets = problem(torch.float32, bias=False, trains=True)
    with Largest() as most:
        HeadLoss()(hidden, head, targets).backward()
    assert most.numel == 50 * VOCABULARY
    with Largest() as all_at_once:
        summed_loss(head(hidden), targets).backward()
    assert all_at_once.numel == ROWS * VOCABULARY, "what the measure sees"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_target_whose_share_underflows_has_its_loss(dtype: torch.dtype) -> None:
    """exp(-300) is 0 in fp32; and a target that is all but certain keeps the little that is left of its gradient."""
    head = nn.Linear(1, 3, bias=False).to(dtype)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0], [300.0], [294.0]]))
    targets = torch.tensor([0, 1])
    hidden = torch.ones(2, 1, dtype=dtype, requires_grad=True)
    loss = HeadLoss()(hidden, head, targets)
    assert loss.item() == pytest.approx(300.00495, rel=1e-6)
    (found,) = torch.autograd.grad(loss, hidden)
    assert found[1].item() == pytest.approx(-6 * 0.002473, rel=0.3 if dtype == torch.bfloat16 else 2e-3)


def test_a_pass_without_gradients_computes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    head, hidden, targets = problem(torch.float32, bias=True, trains=True)
    monkeypatch.setattr(heads, "_add_product", lambda *_: pytest.fail("the weight's gradient was computed"))
    with torch.no_grad():
        torch.testing.assert_close(HeadLoss()(hidden, head, targets), summed_loss(head(hidden), targets))
    with pytest.raises(pytest.fail.Exception):
        HeadLoss()(hidden, head, targets)


def test_no_rows_are_no_loss() -> None:
    """A process's share of a pack may hold no target: it takes part in the backward pass all the same."""
    head, hidden, targets = problem(torch.float32, bias=True, trains=True)
    loss = HeadLoss()(hidden[:0], head, targets[:0])
    assert loss.requires_grad and loss.item() == 0
    assert all(not found.any() for found in gradients(loss, head, hidden))


def test_a_second_backward_pass_is_refused() -> None:
    """Gradients are scaled in place."""
    head, hidden, targets = problem(torch.float32, bias=False, trains=True)
    loss = HeadLoss()(hidden, head, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_muted_batch_moves_nothing() -> None:
    head, hidden, targets = problem(torch.float32, bias=True, trains=True)
    loss = HeadLoss()(hidden, head, torch.full_like(targets, IGNORED))
    assert loss.item() == 0
    assert all(not found.any() for found in gradients(loss, head, hidden))


def test_a_head_that_is_more_than_a_linear_is_called() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    torch.manual_seed(0)
    head, hidden, targets = Doubled(WIDTH, VOCABULARY), torch.randn(3, WIDTH), torch.tensor([1, 2, 3])
    torch.testing.assert_close(HeadLoss()(hidden, head, targets), summed_loss(head(hidden), targets))


def test_logits_that_are_more_than_the_heads_are_asked_of_the_model() -> None:
    """Granite divides its logits: a loss of the bare head's would be another."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads_of: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    llm = GraniteForCausalLM(GraniteConfig(**sizes, **heads_of, logits_scaling=7.0))
    ids = np.arange(3, 23, dtype=np.int32)
    logits = llm(input_ids=torch.from_numpy(ids)[None].long()).logits[0]
    expected = summed_loss(logits[:-1], torch.from_numpy(ids[1:]).long())
    use_packed_attention(llm)
    loss = TextModel(llm, lean=True)(collate([Sample(ids, np.append(ids[1:], IGNORED).astype(np.int32))]))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


class Largest(TorchDispatchMode):
    """Remembers the most values that any operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result
