"""Our losses on the rows that trl_values.py gave TRL 1.16.0 (torch 2.14.1, transformers 5.23.0), to 1e-6."""

from typing import Any

import pytest
import torch

from llm.config.prefer import PreferConfig
from llm.prefer import losses
from llm.prefer.compare import AnswerScores, losses_of
from tests.llm.prefer.rows import ANSWERS, BETA, LABELS, MISMATCHED, SMOOTHING, log_probs, models

TRL = {  # python -m tests.llm.prefer.trl_values
    "dpo": 0.83448905,
    "hinge": 1.10824358,
    "ipo": 2.43005824,
    "robust": 0.87057036,
    "bco": 2.16363907,
    "mpo of pair 0": 4.07186508,
    "mpo of pair 1": 7.49633408,
    "mpo of pair 2": 5.42744875,
    "kto": 0.46283662,
    "odds ratio of orpo": 0.32896504,
    "simpo": 1.46875668,
}


@pytest.fixture(scope="module")
def scores() -> AnswerScores:
    """Of the rows, by plain transformers, a sequence at a time."""
    policy, reference = models()
    with torch.no_grad():
        sides = [
            [[log_probs(model, pair[side]) for pair in ANSWERS] for side in (0, 1)] for model in (policy, reference)
        ]
    sums = [[torch.stack([found.sum() for found in answers]) for answers in of_model] for of_model in sides]
    tokens = [torch.tensor([float(len(found)) for found in answers]) for answers in sides[0]]
    grades = torch.zeros(len(ANSWERS))
    return AnswerScores(sums[0][0], sums[0][1], tokens[0], tokens[1], sums[1][0], sums[1][1], grades)


def close(found: torch.Tensor, name: str) -> bool:
    return float(found) == pytest.approx(TRL[name], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["dpo", "hinge", "ipo", "robust", "bco"])
def test_losses_of_pairs(scores: AnswerScores, name: str) -> None:
    smoothing: dict[str, Any] = {"label_smoothing": SMOOTHING} if name == "robust" else {}
    found = losses_of(scores, PreferConfig(loss=name, beta=BETA, **smoothing), torch.tensor(0.0))
    assert close(found.mean(), name)


def test_mpo_is_trls_three_losses_with_their_weights(scores: AnswerScores) -> None:
    found = losses_of(scores, PreferConfig(loss="mpo", beta=BETA), torch.tensor(0.0))
    assert all(close(loss, f"mpo of pair {number}") for number, loss in enumerate(found))


def test_kto_with_the_divergence_of_mismatched_answers(scores: AnswerScores) -> None:
    policy, reference = models()
    with torch.no_grad():
        ratios = [log_probs(policy, row).sum() - log_probs(reference, row).sum() for row in MISMATCHED]
    shift = losses.kto_shift(BETA * torch.stack(ratios))
    found = losses.kto(BETA * scores.chosen_ratio, torch.tensor(LABELS), shift)
    assert close(found.mean(), "kto")


def test_losses_without_a_reference(scores: AnswerScores) -> None:
    assert close(losses.odds_ratio(scores.chosen_mean, scores.rejected_mean).mul(BETA).mean(), "odds ratio of orpo")
    simpo = losses_of(scores, PreferConfig(loss="simpo", beta=2.0, margin=0.5), torch.tensor(0.0))
    assert close(simpo.mean(), "simpo")
