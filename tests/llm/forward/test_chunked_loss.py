"""The loss of given logits against values by hand; the chunked loss against that of all logits at once, in fp64."""

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
from llm.forward.chunked_loss import HeadLoss, hits, summed_loss
from llm.forward.text_model import TextModel

WIDTH, VOCABULARY, POSITIONS = 16, 300, 200


def problem(dtype: torch.dtype, bias: bool, trains: bool) -> tuple[nn.Linear, Tensor, Tensor]:
    """A head, hidden states [200, 16] and targets, four of them ignored."""
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias).to(dtype).requires_grad_(trains)
    hidden = torch.randn(POSITIONS, WIDTH).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (POSITIONS,))
    targets[5:9] = IGNORED
    return head, hidden, targets


def plain_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum of the negative log-probabilities of the targets, in fp64."""
    log_probs = logits.double().log_softmax(-1)
    pairs = [(index, target) for index, target in enumerate(targets.tolist()) if target != IGNORED]
    return -torch.stack([log_probs[index, target] for index, target in pairs]).sum()


def all_at_once(head: nn.Linear, hidden: Tensor, targets: Tensor) -> Tensor:
    """The loss of all logits, computed in one product in the head's dtype."""
    return plain_loss(nn.functional.linear(hidden, head.weight, head.bias), targets)


def gradients(loss: Tensor, head: nn.Linear, hidden: Tensor) -> list[Tensor]:
    """The gradients of a seventh of the loss, as the training loop divides it by the number of targets."""
    wanted = [hidden, *(part for part in head.parameters() if part.requires_grad)]
    return list(torch.autograd.grad(loss / 7, wanted))


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunked_loss_and_gradients_equal_those_of_all_logits(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, bias: bool, trains: bool
) -> None:
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    monkeypatch.setitem(heads.WIDE, "cpu", 11 * 4 * VOCABULARY)
    monkeypatch.setattr(heads, "LEAST_ROWS", 37)
    head, hidden, targets = problem(dtype, bias, trains)
    full, chunked = all_at_once(head, hidden, targets), HeadLoss()(hidden, head, targets)
    assert chunked.dtype == torch.float32
    assert chunked.item() == pytest.approx(full.item(), rel=1e-6)
    for ours, theirs in zip(gradients(chunked, head, hidden), gradients(full, head, hidden), strict=True):
        assert ours.dtype == theirs.dtype
        if dtype == torch.float32:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        else:  # both are rounded
            one, other = ours.double().flatten(), theirs.double().flatten()
            assert torch.cosine_similarity(one, other, 0) > 0.9999
            assert float(one.norm() / other.norm()) == pytest.approx(1, rel=1.2e-3), "1 / 7 in bf16 is 2e-3 off"


def test_a_loss_and_its_gradients_by_hand() -> None:
    """Two positions, three tokens: the first has probabilities 1/2, 1/4 and 1/4, the second no target."""
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.25, 0.25]).log() - head.weight @ torch.tensor([3.0, 4.0]))
    hidden = torch.tensor([[3.0, 4.0], [1.0, -1.0]], requires_grad=True)
    loss = HeadLoss()(hidden, head, torch.tensor([1, IGNORED]))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-5)
    loss.backward()
    of_logits = torch.tensor([0.5, -0.75, 0.25])  # softmax minus one-hot target
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.5 + 0.5, -0.75 - 0.25], [0, 0]]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.weight.grad, torch.outer(of_logits, torch.tensor([3.0, 4.0])), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.bias.grad, of_logits, rtol=1e-5, atol=1e-6)


def test_chunks_are_as_few_as_the_bound_allows_and_of_similar_size() -> None:
    def ends(count: int, most: int) -> list[tuple[int, int]]:
        return [(part.start, part.stop) for part in heads.chunks(count, most)]

    assert ends(10, 4) == [(0, 3), (3, 6), (6, 10)]
    assert ends(8, 4) == [(0, 4), (4, 8)]
    assert ends(3, 4) == [(0, 3)] and ends(0, 4) == [(0, 0)]


def test_a_chunk_has_a_minimum_number_of_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 0 bytes, 200 positions are computed in chunks of at most 64: four of 50."""
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    head, hidden, targets = problem(torch.float32, bias=False, trains=False)
    with Largest() as most:
        HeadLoss()(hidden, head, targets)
    assert heads.LEAST_ROWS == 64 and most.numel == 50 * VOCABULARY


def test_the_first_and_the_last_token_of_the_vocabulary_are_targets() -> None:
    head, hidden, _ = problem(torch.float32, bias=True, trains=True)
    targets = torch.tensor([0, VOCABULARY - 1])
    chunked, full = HeadLoss()(hidden[:2], head, targets), all_at_once(head, hidden[:2], targets)
    assert chunked.item() == pytest.approx(full.item(), rel=1e-6)
    for ours, theirs in zip(gradients(chunked, head, hidden), gradients(full, head, hidden), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("target", [VOCABULARY, -1])
def test_a_target_outside_the_vocabulary_is_refused(target: int, learns: bool) -> None:
    head, hidden, _ = problem(torch.float32, bias=False, trains=learns)
    with torch.set_grad_enabled(learns), pytest.raises((RuntimeError, IndexError), match=f"{target} is out of bounds"):
        HeadLoss()(hidden[:2], head, torch.tensor([5, target]))


def test_the_weights_gradient_of_many_chunks_is_summed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """600 chunks of one position add 1/2 each: summed in bf16, where 128 + 1/2 rounds to 128, they would stop there."""
    monkeypatch.setitem(heads.CHUNK, "cpu", 0)
    monkeypatch.setattr(heads, "LEAST_ROWS", 1)
    head = nn.Linear(1, 2).to(torch.bfloat16)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)  # both tokens have probability 1/2
    hidden = torch.ones(600, 1, dtype=torch.bfloat16)
    HeadLoss()(hidden, head, torch.zeros(600, dtype=torch.int64)).backward()
    assert head.weight.grad is not None and head.weight.grad.tolist() == [[-300.0], [300.0]]
    assert head.bias.grad is not None and head.bias.grad.tolist() == [-300.0, 300.0]


def test_no_tensor_is_as_large_as_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(heads.CHUNK, "cpu", 50 * 4 * VOCABULARY)
    monkeypatch.setattr(heads, "LEAST_ROWS", 1)
    head, hidden, targets = problem(torch.float32, bias=False, trains=True)
    with Largest() as most:
        HeadLoss()(hidden, head, targets).backward()
    assert most.numel == 50 * VOCABULARY
    with Largest() as full:
        nn.functional.cross_entropy(head(hidden), targets).backward()
    assert full.numel == POSITIONS * VOCABULARY, "the measurement misses logits"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_of_a_target_whose_probability_underflows(dtype: torch.dtype) -> None:
    """exp(-300) is 0 in fp32; the small gradient of a target of probability close to 1 is not lost either."""
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


def test_loss_without_positions_is_zero_with_gradients() -> None:
    """A process's shard of a pack may hold no target, and still takes part in the backward pass."""
    head, hidden, targets = problem(torch.float32, bias=True, trains=True)
    loss = HeadLoss()(hidden[:0], head, targets[:0])
    assert loss.requires_grad and loss.item() == 0
    assert all(not found.any() for found in gradients(loss, head, hidden))


def test_a_second_backward_pass_is_refused() -> None:
    """The first one scaled the saved gradients in place."""
    head, hidden, targets = problem(torch.float32, bias=False, trains=True)
    loss = HeadLoss()(hidden, head, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_batch_of_ignored_targets_has_zero_gradients() -> None:
    head, hidden, targets = problem(torch.float32, bias=True, trains=True)
    loss = HeadLoss()(hidden, head, torch.full_like(targets, IGNORED))
    assert loss.item() == 0
    assert all(not found.any() for found in gradients(loss, head, hidden))


def test_a_subclass_of_linear_is_called_as_a_module() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    torch.manual_seed(0)
    head, hidden, targets = Doubled(WIDTH, VOCABULARY), torch.randn(3, WIDTH), torch.tensor([1, 2, 3])
    doubled = 2 * nn.functional.linear(hidden, head.weight, head.bias)
    assert HeadLoss()(hidden, head, targets).item() == pytest.approx(plain_loss(doubled, targets).item())


def test_scaled_logits_are_computed_by_the_model() -> None:
    """Granite divides its logits by a constant: the loss of the head's output alone would differ."""
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
    """Records the number of values of the largest tensor that an operation returns."""

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
    """Records the shape of each matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if operation.__name__.split(".")[0] in ("mm", "addmm"):
            self.found.append(tuple(result.shape))
        return result


@pytest.mark.parametrize(("device", "positions"), [("cpu", 256), ("cuda", 2730)])
def test_chunks_are_24_mib_of_logits_on_a_cpu_and_256_mib_on_cuda(device: str, positions: int) -> None:
    """In positions, for SmolLM2's vocabulary in bf16. The CPU's size was measured (docs/benchmarks/speed.md)."""
    head = nn.Linear(1, 49_152, bias=False, dtype=torch.bfloat16, device="meta")
    loss = HeadLoss()
    for count, chunks in ((positions, 1), (positions + 1, 2)):
        hidden = torch.zeros(count, 1, dtype=torch.bfloat16, device="meta")
        with torch.no_grad(), Products() as products:
            loss(hidden, head, torch.zeros(count, dtype=torch.long, device="meta"), device)
        assert len(products.found) == chunks


@pytest.mark.parametrize(("of_hidden", "of_weight", "products"), [(True, False, 2), (False, True, 2), (True, True, 3)])
def test_only_required_gradients_are_computed(of_hidden: bool, of_weight: bool, products: int) -> None:
    head, hidden, targets = problem(torch.float32, bias=False, trains=of_weight)
    hidden = hidden.detach().requires_grad_(of_hidden)
    with Products() as computed:
        HeadLoss()(hidden, head, targets)
    assert len(computed.found) == products, computed.found


# The loss of given logits ---------------------------------------------------------------------------------------------

PROBABILITIES = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]


def logits_of_probabilities() -> Tensor:
    """[3, 3] logits whose softmax is `PROBABILITIES`; a constant added to a matrix row does not change it."""
    return torch.tensor(PROBABILITIES).log() + torch.tensor([[0.0], [5.0], [-3.0]])


def test_loss_is_the_sum_of_negative_log_probabilities() -> None:
    loss = summed_loss(logits_of_probabilities(), torch.tensor([0, 2, 1]))
    assert loss.shape == () and loss.item() == pytest.approx(-math.log(0.5 * 0.7 * 0.3), rel=1e-6)


def test_ignored_targets_add_no_loss_and_no_gradient() -> None:
    logits = logits_of_probabilities().requires_grad_()
    loss = summed_loss(logits, torch.tensor([0, IGNORED, IGNORED]))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)
    loss.backward()
    expected = torch.tensor([[0.5 - 1, 0.25, 0.25], [0, 0, 0], [0, 0, 0]])  # softmax minus one-hot target
    torch.testing.assert_close(logits.grad, expected)
    assert summed_loss(logits_of_probabilities(), torch.full((3,), IGNORED)).item() == 0


def test_low_precision_logits_are_summed_in_fp32() -> None:
    """301 times ln 2 is 208.6; bf16 represents 208 and 209 only."""
    loss = summed_loss(torch.zeros(301, 2, dtype=torch.bfloat16), torch.zeros(301, dtype=torch.int64))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(301 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("target", [3, -1])
def test_summed_loss_refuses_a_target_outside_the_vocabulary(target: int) -> None:
    with pytest.raises(IndexError, match=f"Target {target} is out of bounds"):
        summed_loss(logits_of_probabilities(), torch.tensor([0, 1, target]))


def test_a_hit_is_a_target_with_the_largest_logit() -> None:
    assert hits(logits_of_probabilities(), torch.tensor([0, 1, 2])).tolist() == [True, False, True]
    assert hits(logits_of_probabilities(), torch.full((3,), IGNORED)).tolist() == [False, False, False]
