"""The figures of preference steps: sums over records on the device, and the metrics that are made of them.

The names are those of TRL's metrics (rewards/chosen, logps/chosen, ...), which its users look for.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llm.prefer.compare import AnswerScores

ACCURACY = "rewards/accuracies"
SUMS = ("chosen", "rejected", "chosen_reward", "rejected_reward", "right", "chosen_log_p", "rejected_log_p", "nll")
"""What is summed: the numbers of chosen and of rejected answers, then values of them; `right` counts pairs."""


def sums_of_pairs(scores: AnswerScores, rewards: tuple[Tensor, Tensor], counted: Tensor) -> Tensor:
    """[len(SUMS)], fp32: the sums over the pairs of a batch that count."""
    chosen, rejected = rewards
    columns = (
        torch.ones_like(chosen),
        torch.ones_like(rejected),
        chosen,
        rejected,
        (chosen > rejected).float(),
        scores.chosen,
        scores.rejected,
        -scores.chosen_mean,
    )
    return _summed(columns, counted)


def sums_of_labelled(scores: AnswerScores, rewards: tuple[Tensor, Tensor], counted: Tensor) -> Tensor:
    """The same over labelled answers: good ones are chosen, bad ones rejected, and no two are compared."""
    good = (scores.grades > 0).float()
    reward = rewards[0]
    columns = (
        good,
        1 - good,
        good * reward,
        (1 - good) * reward,
        torch.zeros_like(good),
        good * scores.chosen,
        (1 - good) * scores.chosen,
        -good * scores.chosen_mean,
    )
    return _summed(columns, counted)


def _summed(columns: Sequence[Tensor], counted: Tensor) -> Tensor:
    return (torch.stack([column.detach() for column in columns]) * counted).sum(1)


def metrics_of(sums: Sequence[float], paired: bool) -> dict[str, float]:
    """The metrics of some steps from their sums; those of answers of which there was none are left out.

    logps are summed over an answer's tokens, nll is the mean over them, all are means over answers.
    """
    value = dict(zip(SUMS, sums, strict=True))
    found: dict[str, float] = {}
    for side in ("chosen", "rejected"):
        if value[side]:
            found[f"rewards/{side}"] = value[f"{side}_reward"] / value[side]
    if paired and value["chosen"]:
        found[ACCURACY] = value["right"] / value["chosen"]
    if value["chosen"] and value["rejected"]:
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    for side in ("chosen", "rejected"):
        if value[side]:
            found[f"logps/{side}"] = value[f"{side}_log_p"] / value[side]
    if value["chosen"]:
        found["nll"] = value["nll"] / value["chosen"]
    return found


class RunningReward:
    """The mean of all rewards of the steps so far, chosen and rejected: the shift of bco and mpo.

    The step that is computed is no part of it, so that the loss does not depend on how the step is cut into packs.
    """

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0.0

    def add(self, sums: Sequence[float]) -> None:
        """Add the sums of a step, over all processes."""
        value = dict(zip(SUMS, sums, strict=True))
        self.total += value["chosen_reward"] + value["rejected_reward"]
        self.count += value["chosen"] + value["rejected"]

    @property
    def mean(self) -> float:
        """0 before the first step, when the model is the reference."""
        return self.total / self.count if self.count else 0.0

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"total": self.total, "count": self.count}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state()`."""
        self.total, self.count = float(state["total"]), float(state["count"])
