"""A model that is called with packs of answers and returns the summed loss of their records."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Generic, Protocol, cast

import torch
from torch import Tensor, nn

from llm import distributed
from llm.config.prefer import SHIFTED, PreferConfig
from llm.model.eval_mode import eval_mode
from llm.model.lora import adapters_off
from llm.prefer import losses
from llm.prefer.answers import SIDES, AnswerBatch, PackT
from llm.prefer.compare import AnswerScores, losses_of, rewards_of
from llm.prefer.figures import SUMS, RunningReward, metrics_of, sums_of_labelled, sums_of_pairs


class Scorer(Protocol):
    """A pack model, such as `llm.forward.text_model.TextModel`."""

    def log_probs(self, batch: object) -> Tensor:
        """[K], fp32: the log-probability of each target of a pack."""
        ...


class PreferModel(nn.Module, Generic[PackT]):
    """`inner` under a preference loss; it counts the figures of the batches that it is called with.

    As `figures` of a run (`llm.train.run_parts.StepFigures`) it is asked before and after every step.
    """

    def __init__(self, inner: nn.Module, prefer: PreferConfig) -> None:
        super().__init__()
        self.inner, self.prefer = inner, prefer
        self.running = RunningReward()
        self._shift = 0.0
        self._sums: Tensor | None = None

    def forward(self, batch: AnswerBatch[PackT]) -> Tensor:
        """The sum of the losses of the batch's records, fp32 scalar."""
        scores = self._scores(batch)
        loss = losses_of(scores, self.prefer, scores.grades.new_tensor(self._shift))
        sums_of = sums_of_labelled if self.prefer.loss == "kto" else sums_of_pairs
        sums = sums_of(scores, rewards_of(scores, self.prefer), batch.counted)
        self._sums = sums if self._sums is None else self._sums + sums
        return (loss * batch.counted).sum()

    def answer_log_probs(self, batch: AnswerBatch[PackT]) -> Tensor:
        """[2 P], fp32: the log-probability of each answer, summed over its tokens."""
        log_probs = cast(Scorer, self.inner).log_probs(batch.pack)
        return log_probs.new_zeros(len(batch.reference)).index_add(0, batch.answer_of, log_probs)

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Inside, the model answers as the reference does: without its adapters, if it has any, and without dropout."""
        off = adapters_off(self.inner) if self.prefer.reference != "copy" else nullcontext()
        with eval_mode(self.inner), torch.no_grad(), off:
            yield

    def _scores(self, batch: AnswerBatch[PackT]) -> AnswerScores:
        sums = self.answer_log_probs(batch).view(-1, SIDES)
        ones = torch.ones_like(batch.answer_of, dtype=torch.float32)
        tokens = sums.new_zeros(len(batch.reference)).index_add(0, batch.answer_of, ones).view(-1, SIDES)
        reference = batch.reference.view(-1, SIDES)
        chosen, rejected = range(SIDES)
        return AnswerScores(
            chosen=sums[:, chosen],
            rejected=sums[:, rejected],
            chosen_tokens=tokens[:, chosen],
            rejected_tokens=tokens[:, rejected],
            chosen_reference=reference[:, chosen],
            rejected_reference=reference[:, rejected],
            grades=batch.grades,
        )

    # What the loop asks for -------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Numbers that `take` returns."""
        return len(SUMS)

    def begin(self, batches: Sequence[AnswerBatch[PackT]]) -> None:
        """Fix the shift of a step from its batches, or from the steps before it. A collective for kto."""
        if self.prefer.loss == "kto":
            self._shift = self._mismatch(batches)
        elif self.prefer.loss in SHIFTED:
            self._shift = self.running.mean

    def take(self) -> Tensor:
        """[count], fp32: the sums of this process's batches since the last call."""
        sums, self._sums = self._sums, None
        return torch.zeros(self.count, device=distributed.device()) if sums is None else sums

    def advance(self, sums: Sequence[float]) -> None:
        """A training step was made; `sums` are those of all processes."""
        self.running.add(sums)

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """The metrics of some steps, from their sums over all processes."""
        return metrics_of(sums, paired=self.prefer.loss != "kto")

    def state(self) -> dict[str, float]:
        """What the next step depends on besides weights and optimizer."""
        return self.running.state()

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from `state()`."""
        self.running.restore(state)

    def _mismatch(self, batches: Sequence[AnswerBatch[PackT]]) -> float:
        """kto's z over the records of all processes: the mean reward of answers that belong elsewhere, at least 0."""
        total = torch.zeros(2, dtype=torch.float64)
        with eval_mode(self.inner), torch.no_grad():
            for batch in batches:
                _, mismatched = rewards_of(self._scores(batch), self.prefer)
                total += torch.stack([(mismatched * batch.counted).sum(), batch.counted.sum()]).double().cpu()
        total = distributed.all_reduce_sum(total)
        return float(losses.kto_shift(total[0] / total[1]))
