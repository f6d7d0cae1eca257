"""From the log-probabilities of a batch's answers to the loss, the reward and the figures of each of its records."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llm.config.prefer import PreferConfig
from llm.prefer import losses


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Log-probabilities of P answers each, summed over an answer's tokens, fp32 [P].

    Attributes:
        chosen: Of the chosen answers; `rejected`: of the rejected ones; for `kto` of the records' own answers, and of
            answers that belong elsewhere.
        chosen_tokens: Tokens of the answers; `rejected_tokens`.
        chosen_reference: Log-probabilities under the reference, 0 without one; `rejected_reference`.
        grades: Margins of pairs; for `kto` 1 for a good and -1 for a bad answer.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    chosen_reference: Tensor
    rejected_reference: Tensor
    grades: Tensor

    @property
    def chosen_mean(self) -> Tensor:
        """Of the chosen answers, divided by their tokens."""
        return self.chosen / self.chosen_tokens

    @property
    def rejected_mean(self) -> Tensor:
        """Of the rejected answers, divided by their tokens."""
        return self.rejected / self.rejected_tokens

    @property
    def chosen_ratio(self) -> Tensor:
        """Log-ratios of the chosen answers."""
        return self.chosen - self.chosen_reference

    @property
    def rejected_ratio(self) -> Tensor:
        """Log-ratios of the rejected answers."""
        return self.rejected - self.rejected_reference


def losses_of(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    """[P], fp32: each record's loss with its SFT term. `shift`: of bco and mpo d, of kto z; a scalar."""
    loss = _LOSSES[prefer.loss](scores, prefer, shift)
    weight = prefer.weight_of_sft
    if not weight:
        return loss
    cross_entropy = -scores.chosen_mean
    if prefer.loss == "kto":
        cross_entropy = torch.where(scores.grades > 0, cross_entropy, torch.zeros_like(cross_entropy))
    return loss + weight * cross_entropy


def rewards_of(scores: AnswerScores, prefer: PreferConfig) -> tuple[Tensor, Tensor]:
    """[P] each, fp32, without gradients: the rewards of both answers of every record, as they are reported.

    beta times the log-ratio; for orpo and simpo, which have no reference, beta times the mean log-probability.
    """
    if prefer.loss in ("orpo", "simpo"):
        pair = scores.chosen_mean, scores.rejected_mean
    else:
        pair = scores.chosen_ratio, scores.rejected_ratio
    return prefer.beta * pair[0].detach(), prefer.beta * pair[1].detach()


def _margins(scores: AnswerScores, prefer: PreferConfig) -> Tensor:
    return scores.grades + prefer.margin


def _logits(scores: AnswerScores, prefer: PreferConfig) -> Tensor:
    return prefer.beta * (scores.chosen_ratio - scores.rejected_ratio) - _margins(scores, prefer)


def _dpo(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return losses.dpo(_logits(scores, prefer), prefer.label_smoothing)


def _robust(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return losses.robust(_logits(scores, prefer), prefer.label_smoothing)


def _hinge(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return losses.hinge(_logits(scores, prefer))


def _ipo(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    chosen = scores.chosen_ratio / scores.chosen_tokens
    return losses.ipo(chosen, scores.rejected_ratio / scores.rejected_tokens, prefer.beta)


def _bco(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return losses.bco(prefer.beta * scores.chosen_ratio, prefer.beta * scores.rejected_ratio, shift)


def _kto(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return losses.kto(prefer.beta * scores.chosen_ratio, scores.grades > 0, shift)


def _orpo(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    return prefer.beta * losses.odds_ratio(scores.chosen_mean, scores.rejected_mean)


def _simpo(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    margins = _margins(scores, prefer)
    return losses.simpo(scores.chosen_mean, scores.rejected_mean, prefer.beta, margins, prefer.label_smoothing)


def _mpo(scores: AnswerScores, prefer: PreferConfig, shift: Tensor) -> Tensor:
    rewards = prefer.beta * scores.chosen_ratio, prefer.beta * scores.rejected_ratio
    return losses.mpo(*rewards, shift, _margins(scores, prefer))


_LOSSES = {
    "dpo": _dpo,
    "ipo": _ipo,
    "hinge": _hinge,
    "robust": _robust,
    "bco": _bco,
    "kto": _kto,
    "orpo": _orpo,
    "simpo": _simpo,
    "mpo": _mpo,
}
