"""Every loss against the formula of its paper in Python's floats, which shares no line with ours."""

from math import exp, log, log1p
from typing import Any

import pytest
import torch

from llm.config.prefer import PreferConfig
from llm.prefer import losses
from llm.prefer.compare import AnswerScores, losses_of, rewards_of

# log p of chosen and rejected answers, their tokens, the same under the reference, margins.
PAIRS = [
    (-12.5, -14.25, 5, 7, -13.0, -13.5, 0.0),
    (-30.0, -3.5, 11, 2, -28.0, -6.0, 0.5),
    (-0.75, -40.0, 1, 20, -2.0, -38.0, -1.0),
]
BETA, SHIFT = 0.3, 0.15


def scores(grades: list[float] | None = None) -> AnswerScores:
    columns = [torch.tensor(column, dtype=torch.float32) for column in zip(*PAIRS, strict=True)]
    if grades is not None:
        columns[6] = torch.tensor(grades)
    return AnswerScores(*columns)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def by_hand(name: str, pair: tuple[float, ...], smoothing: float, margin: float, grade: float) -> float:
    chosen, rejected, n, m, chosen_ref, rejected_ref, own = pair
    r, s = BETA * (chosen - chosen_ref), BETA * (rejected - rejected_ref)
    x = r - s - margin - own
    if name == "dpo":
        return -(1 - smoothing) * log(sigmoid(x)) - smoothing * log(sigmoid(-x))
    if name == "robust":
        return (-(1 - smoothing) * log(sigmoid(x)) + smoothing * log(sigmoid(-x))) / (1 - 2 * smoothing)
    if name == "hinge":
        return max(0.0, 1 - x)
    if name == "ipo":
        return float(((chosen - chosen_ref) / n - (rejected - rejected_ref) / m - 1 / (2 * BETA)) ** 2)
    if name == "bco":
        return -log(sigmoid(r - SHIFT)) - log(sigmoid(-(s - SHIFT)))
    if name == "kto":
        return 1 - sigmoid(r - SHIFT) if grade > 0 else 1 - sigmoid(SHIFT - r)
    if name == "orpo":  # odds p / (1 - p) of p = exp(mean log p)
        p, q = exp(chosen / n), exp(rejected / m)
        return -chosen / n - BETA * log(sigmoid(log(p / (1 - p)) - log(q / (1 - q))))
    if name == "simpo":
        return log1p(exp(-(BETA * chosen / n - BETA * rejected / m - margin - own)))
    assert name == "mpo"
    quality = -log(sigmoid(r - SHIFT)) - log(sigmoid(-(s - SHIFT)))
    return -0.8 * log(sigmoid(x)) + 0.2 * quality - chosen / n


@pytest.mark.parametrize("name", ["dpo", "ipo", "hinge", "robust", "bco", "kto", "orpo", "simpo", "mpo"])
def test_every_loss_is_that_of_its_paper(name: str) -> None:
    options: dict[str, Any] = {"loss": name, "beta": BETA}
    smoothing = 0.2 if name in ("dpo", "robust") else 0.0
    options |= {"label_smoothing": smoothing} if smoothing else {}
    margin = 0.25 if name in ("dpo", "hinge", "robust", "simpo", "mpo") else 0.0
    options |= {"margin": margin} if margin else {}
    grades = [1.0, -1.0, 1.0] if name == "kto" else None
    found = losses_of(scores(grades), PreferConfig(**options), torch.tensor(SHIFT))
    kinds = grades or [0.0] * len(PAIRS)
    wanted = [by_hand(name, pair, smoothing, margin, kind) for pair, kind in zip(PAIRS, kinds, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_an_sft_term_is_the_mean_cross_entropy_of_the_chosen_answer() -> None:
    plain = losses_of(scores(), PreferConfig(loss="dpo"), torch.tensor(0.0))
    with_it = losses_of(scores(), PreferConfig(loss="dpo", sft_weight=0.5), torch.tensor(0.0))
    assert (with_it - plain).tolist() == pytest.approx([0.5 * 12.5 / 5, 0.5 * 30 / 11, 0.5 * 0.75], rel=1e-5)
    labelled = scores([1.0, -1.0, 1.0])
    added = losses_of(labelled, PreferConfig(loss="kto", sft_weight=1.0), torch.tensor(0.0))
    added = added - losses_of(labelled, PreferConfig(loss="kto"), torch.tensor(0.0))
    assert added.tolist() == pytest.approx([2.5, 0.0, 0.75], rel=1e-5), "a bad answer is not imitated"
    assert PreferConfig(loss="orpo").weight_of_sft == PreferConfig(loss="mpo").weight_of_sft == 1.0


def test_rewards_are_scaled_log_ratios_or_without_a_reference_scaled_means() -> None:
    chosen, rejected = rewards_of(scores(), PreferConfig(loss="dpo", beta=BETA))
    assert chosen.tolist() == pytest.approx([0.15, -0.6, 0.375])
    assert rejected.tolist() == pytest.approx([-0.225, 0.75, -0.6])
    chosen, rejected = rewards_of(scores(), PreferConfig(loss="simpo", beta=2.0))
    assert chosen.tolist() == pytest.approx([-5.0, -60 / 11, -1.5])
    assert rejected.tolist() == pytest.approx([-28.5 / 7, -3.5, -4.0])


def test_the_shift_of_kto_is_a_mean_that_is_not_below_0_and_has_no_gradient() -> None:
    rewards = torch.tensor([0.5, -0.1, 0.2], requires_grad=True)
    shift = losses.kto_shift(rewards)
    assert float(shift) == pytest.approx(0.2) and not shift.requires_grad
    assert float(losses.kto_shift(-rewards)) == 0.0


def test_odds_of_answers_that_are_certain_or_hopeless_have_finite_losses_and_gradients() -> None:
    chosen = torch.tensor([0.0, -1e-7, -90.0, -0.5], requires_grad=True)
    rejected = torch.tensor([-3.0, 0.0, -1e-9, -0.7], requires_grad=True)
    losses.odds_ratio(chosen, rejected).sum().backward()
    for side in (chosen, rejected):
        assert side.grad is not None and bool(torch.isfinite(side.grad).all())
    p, q = exp(-0.5), exp(-0.7)
    odds = -log(sigmoid(log(p / (1 - p)) - log(q / (1 - q))))
    assert float(losses.odds_ratio(chosen, rejected)[3].detach()) == pytest.approx(odds, rel=1e-6)
