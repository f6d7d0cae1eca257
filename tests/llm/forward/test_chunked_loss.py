"""The head and its loss chunk by chunk, against all logits at once and their logarithms in fp64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GraniteConfig, GraniteForCausalLM

from llm.attention.interface import use_packed_attention
from llm.data.batch import collate
from llm.encoding.encoder import IGNORED, Sample
from llm.forward import chunked_loss as heads
from llm.forward.chunked_loss import HeadLoss
from llm.forward.text_model import TextModel

WIDTH, VOCABULARY, ROWS = 16, 300, 200


def problem(dtype: torch.dtype, bias: bool, trains: bool) -> tuple[nn.Linear, Tensor, Tensor]:
    """A head, hidden rows and targets, some of them ignored."""
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias).to(dtype).requires_grad_(trains)
    hidden = torch.randn(ROWS, WIDTH).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (ROWS,))
    targets[5:9] = IGNORED
    return head, hidden, targets


def plain_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the logarithm of every target's share, summed one by one."""
    shares = logits.double().log_softmax(-1)
    rows = [(row, target) for row, target in enumerate(targets.tolist()) if target != IGNORED]
    return -torch.stack([shares[row, target] for row, target in rows]).sum()


def all_at_once(head: nn.Linear, hidden: Tensor, targets: Tensor) -> Tensor:
    """The loss of all logits, which are there together in the head's dtype."""
    return plain_loss(nn.functional.linear(hidden, head.weight, head.bias), targets)


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
    whole, parts = all_at_once(head, hidden, targets), HeadLoss()(hidden, head, targets)
    assert parts.dtype == torch.float32
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)
    for ours, theirs in zip(gradients(parts, head, hidden), gradients(whole, head, hidden), strict=True):
        assert ours.dtype == theirs.dtype
        if dtype == torch.float32:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        else:  # both round
            one, other = ours.double().flatten(), theirs.double().flatten()
            assert torch.cosine_similarity(one, other, 0) > 0.9999
            assert float(one.norm() / other.norm()) == pytest.approx(1, rel=1.2e-3), "1 / 7 in bf16 is 2e-3 off"


def test_a_loss_and_its_gradients_by_hand() -> None:
    """Two rows over three tokens; the second has no target, the first's shares are 1/2, 1/4 and 1/4."""
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.25, 0.25]).log() - head.weight @ torch.tensor([3.0, 4.0]))
    hidden = torch.tensor([[3.0, 4.0], [1.0, -1.0]], requires_grad=True)
    loss = HeadLoss()(hidden, head, torch.tensor([1, IGNORED]))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-5)
    loss.backward()
    given = torch.tensor([0.5, -0.75, 0.25])  # shares, less 1 at the target
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.5 + 0.5, -0.75 - 0.25], [0, 0]]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.weight.grad, torch.outer(given, torch.tensor([3.0, 4.0])), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.bias.grad, given, rtol=1e-5, atol=1e-6)


def test_chunks_are_as_few_as_the_bound_allows_and_alike() -> None:
    def ends(count: int, most: int) -> list[tuple[int, int]]:
        return [(part.start, part.stop) for part in heads._chunks(count, most)]

    assert ends(10, 4) == [(0, 3), (3, 6), (6, 10)]
    assert ends(8, 4) == [(0, 4), (4, 8)]
    assert ends(3, 4) == [(0, 3)] and ends(0, 4) == [(0, 0)]


def test_a_chunk_has_at_least_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the vocabulary: 200 rows of at least 64 are four chunks of 50, although there is room for none."""
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    head, hidden, targets = problem(torch.float32, bias=False, trains=False)
    with Largest() as most:
        HeadLoss()(hidden, head, targets)
    assert heads.LEAST_ROWS == 64 and most.numel == 50 * VOCABULARY


def test_the_first_and_the_last_token_of_the_vocabulary_are_targets() -> None:
    head, hidden, _ = problem(torch.float32, bias=True, trains=True)
    targets = torch.tensor([0, VOCABULARY - 1])
    parts, whole = HeadLoss()(hidden[:2], head, targets), all_at_once(head, hidden[:2], targets)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)
    for ours, theirs in zip(gradients(parts, head, hidden), gradients(whole, head, hidden), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("target", [VOCABULARY, -1])
def test_a_target_outside_the_vocabulary_is_refused(target: int, learns: bool) -> None:
    head, hidden, _ = problem(torch.float32, bias=False, trains=learns)
    with torch.set_grad_enabled(learns), pytest.raises((RuntimeError, IndexError), match=f"{target} is out of bounds"):
        HeadLoss()(hidden[:2], head, torch.tensor([5, target]))


def test_the_weights_gradient_of_many_chunks_is_summed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 rows, a chunk each, give 1/2 each: in bf16, where 128 + 1/2 is 128, the sum would stand still there."""
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    monkeypatch.setattr(heads, "LEAST_ROWS", 1)
    head = nn.Linear(1, 2).to(torch.bfloat16)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)  # both tokens have half a share
    hidden = torch.ones(600, 1, dtype=torch.bfloat16)
    HeadLoss()(hidden, head, torch.zeros(600, dtype=torch.int64)).backward()
    assert head.weight.grad is not None and head.weight.grad.tolist() == [[-300.0], [300.0]]
    assert head.bias.grad is not None and head.bias.grad.tolist() == [-300.0, 300.0]


def test_nothing_as_large_as_all_logits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(heads.CHUNK, "cpu", 50 * 4 * VOCABULARY)
    monkeypatch.setattr(heads, "LEAST_ROWS", 1)
    head, hidden, targets = problem(torch.float32, bias=False, trains=True)
    with Largest() as most:
        HeadLoss()(hidden, head, targets).backward()
    assert most.numel == 50 * VOCABULARY
    with Largest() as whole:
        nn.functional.cross_entropy(head(hidden), targets).backward()
    assert whole.numel == ROWS * VOCABULARY, "what the measure sees"


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
        assert HeadLoss()(hidden, head, targets).item() == pytest.approx(all_at_once(head, hidden, targets).item())
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
    doubled = 2 * nn.functional.linear(hidden, head.weight, head.bias)
    assert HeadLoss()(hidden, head, targets).item() == pytest.approx(plain_loss(doubled, targets).item())


def test_logits_that_are_more_than_the_heads_are_asked_of_the_model() -> None:
    """Granite divides its logits: a loss of the bare head's would be another."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads_of: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    llm = GraniteForCausalLM(GraniteConfig(**sizes, **heads_of, logits_scaling=7.0))
    ids = np.arange(3, 23, dtype=np.int32)
    logits = llm(input_ids=torch.from_numpy(ids)[None].long()).logits[0]
    expected = plain_loss(logits[:-1], torch.from_numpy(ids[1:]))
    use_packed_attention(llm)
    loss = TextModel(llm, lean="on")(collate([Sample(ids, np.append(ids[1:], IGNORED).astype(np.int32))]))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


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


class Products(TorchDispatchMode):
    """Rows and columns of each matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if operation.__name__.split(".")[0] in ("mm", "addmm"):
            self.found.append(tuple(result.shape))
        return result


@pytest.mark.parametrize(("device", "rows"), [("cpu", 256), ("cuda", 2730)])
def test_chunks_are_24_mib_of_logits_and_256_on_a_card(device: str, rows: int) -> None:
    """For SmolLM2's vocabulary in bf16; a CPU's size is the one that docs/benchmarks/speed.md measured."""
    head = nn.Linear(1, 49_152, bias=False, dtype=torch.bfloat16, device="meta")
    loss = HeadLoss()
    for count, chunks in ((rows, 1), (rows + 1, 2)):
        hidden = torch.zeros(count, 1, dtype=torch.bfloat16, device="meta")
        with torch.no_grad(), Products() as products:
            loss(hidden, head, torch.zeros(count, dtype=torch.long, device="meta"), device)
        assert len(products.found) == chunks


@pytest.mark.parametrize(("of_hidden", "of_weight", "products"), [(True, False, 2), (False, True, 2), (True, True, 3)])
def test_only_gradients_that_are_asked_for_are_multiplied(of_hidden: bool, of_weight: bool, products: int) -> None:
    head, hidden, targets = problem(torch.float32, bias=False, trains=of_weight)
    hidden = hidden.detach().requires_grad_(of_hidden)
    with Products() as seen:
        HeadLoss()(hidden, head, targets)
    assert len(seen.found) == products, seen.found
