"""The loss of a pack and its hits by hand: a sum in fp32 over the targets that count."""

import math

import pytest
import torch
from torch import Tensor

from llm.encoding.encoder import IGNORED
from llm.forward.chunked_loss import hits, summed_loss

SHARES = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]


def logits() -> Tensor:
    """Their softmax is `SHARES`: what is added to a whole row changes nothing."""
    return torch.tensor(SHARES).log() + torch.tensor([[0.0], [5.0], [-3.0]])


def test_it_is_the_sum_of_minus_the_logarithms() -> None:
    loss = summed_loss(logits(), torch.tensor([0, 2, 1]))
    assert loss.shape == () and loss.item() == pytest.approx(-math.log(0.5 * 0.7 * 0.3), rel=1e-6)


def test_ignored_targets_count_nothing_and_have_no_gradient() -> None:
    rows = logits().requires_grad_()
    loss = summed_loss(rows, torch.tensor([0, IGNORED, IGNORED]))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)
    loss.backward()
    expected = torch.tensor([[0.5 - 1, 0.25, 0.25], [0, 0, 0], [0, 0, 0]])  # shares, less 1 at the target
    torch.testing.assert_close(rows.grad, expected)
    assert summed_loss(logits(), torch.full((3,), IGNORED)).item() == 0


def test_low_precision_is_summed_in_fp32() -> None:
    """301 times ln 2 is 208.6; bf16 knows 208 and 209."""
    loss = summed_loss(torch.zeros(301, 2, dtype=torch.bfloat16), torch.zeros(301, dtype=torch.int64))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(301 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("target", [3, -1])
def test_a_target_outside_the_vocabulary_is_refused(target: int) -> None:
    with pytest.raises(IndexError, match=f"Target {target} is out of bounds"):
        summed_loss(logits(), torch.tensor([0, 1, target]))


def test_a_hit_is_the_largest_logit_at_the_target() -> None:
    assert hits(logits(), torch.tensor([0, 1, 2])).tolist() == [True, False, True]
    assert hits(logits(), torch.full((3,), IGNORED)).tolist() == [False, False, False]
