"""Losses of preferences as functions of log-probabilities; they know no model and no data.

Written: pi the model that trains, ref the reference; c the chosen, r the rejected answer; log p(y) the sum of the
log-probabilities of an answer's tokens after its prompt. A log-ratio is log pi(y) - log ref(y), a reward beta times it.
All tensors are fp32 [P], one value a pair (`kto`: a record), and so are the results.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

MPO_WEIGHTS = (0.8, 0.2)  # of dpo and bco beside the SFT term, whose weight is 1 (arXiv 2411.10442)
_LOG_HALF = -math.log(2)


def dpo(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """-(1 - e) log sigmoid(x) - e log sigmoid(-x): Rafailov et al. 2023 (arXiv 2305.18290, equation 7).

    `logits` x: the chosen reward minus the rejected one, minus a margin if there is one. `smoothing` e: the probability
    that a pair is labelled the wrong way round (conservative DPO).
    """
    return -(1 - smoothing) * logsigmoid(logits) - smoothing * logsigmoid(-logits)


def robust(logits: Tensor, smoothing: float) -> Tensor:
    """The estimate of `dpo` without label noise from labels of which a share e is wrong (arXiv 2403.00409).

    (-(1 - e) log sigmoid(x) + e log sigmoid(-x)) / (1 - 2 e); e is below 1/2.
    """
    return (-(1 - smoothing) * logsigmoid(logits) + smoothing * logsigmoid(-logits)) / (1 - 2 * smoothing)


def hinge(logits: Tensor) -> Tensor:
    """max(0, 1 - x): SLiC-HF's calibration loss on rewards (arXiv 2305.10425)."""
    return torch.relu(1 - logits)


def ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """(c - r - 1 / (2 beta))^2: Azar et al. 2023 (arXiv 2310.12036, equation 17).

    `chosen` and `rejected`: log-ratios divided by their answers' tokens, as the paper's authors computed them.
    """
    return (chosen - rejected - 1 / (2 * beta)).square()


def bco(chosen: Tensor, rejected: Tensor, shift: Tensor | float) -> Tensor:
    """-log sigmoid(c - d) - log sigmoid(-(r - d)): binary classifier optimization (arXiv 2404.04656).

    `chosen` and `rejected`: rewards. `shift` d: a running mean of the rewards of both.
    """
    return -logsigmoid(chosen - shift) - logsigmoid(shift - rejected)


def kto(reward: Tensor, desirable: Tensor, shift: Tensor | float) -> Tensor:
    """1 - sigmoid(r - z) of a good answer, 1 - sigmoid(z - r) of a bad one (arXiv 2402.01306).

    `desirable` [P], bool. `shift` z: beta times the estimated divergence of model and reference, see `kto_shift`. Both
    kinds of answers weigh 1.
    """
    return 1 - torch.sigmoid(torch.where(desirable, reward - shift, shift - reward))


def kto_shift(mismatched: Tensor) -> Tensor:
    """max(0, mean): z, from the rewards of answers after prompts that they do not belong to. Without a gradient."""
    return mismatched.detach().mean().clamp(min=0)


def odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log sigmoid(log odds(c) - log odds(r)): ORPO without its SFT term (arXiv 2403.07691, equation 7).

    `chosen` and `rejected`: log-probabilities divided by the tokens, m; log odds = m - log(1 - e^m).
    """
    return -logsigmoid(chosen - rejected - (_log_1m_exp(chosen) - _log_1m_exp(rejected)))


def simpo(chosen: Tensor, rejected: Tensor, beta: float, margin: Tensor | float, smoothing: float = 0.0) -> Tensor:
    """`dpo` of beta (c - r) - margin, without a reference: Meng et al. 2024 (arXiv 2405.14734, equation 6).

    `chosen` and `rejected`: log-probabilities divided by the tokens; `margin`: the paper's gamma.
    """
    return dpo(beta * (chosen - rejected) - margin, smoothing)


def mpo(chosen: Tensor, rejected: Tensor, shift: Tensor | float, margin: Tensor | float = 0.0) -> Tensor:
    """0.8 `dpo` + 0.2 `bco` of rewards: mixed preference optimization without its SFT term (arXiv 2411.10442)."""
    preference, quality = MPO_WEIGHTS
    return preference * dpo(chosen - rejected - margin) + quality * bco(chosen, rejected, shift)


def _log_1m_exp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0 (Maechler 2012). An x of 0, a probability that rounds to 1, counts as a tiny one below."""
    x = x.clamp(max=-torch.finfo(x.dtype).tiny)
    near = x > _LOG_HALF  # each form where it is exact; the other one gets an input with a finite gradient
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, _LOG_HALF))),
        torch.log1p(-torch.exp(torch.where(near, -1, x))),
    )
