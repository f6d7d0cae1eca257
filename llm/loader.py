"""This rank's packs as batches, made one step ahead of the model. The state of a loader is one integer: the step."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm.bins import Budget
from llm.config import TrainConfig
from llm.corpus import Corpus
from llm.packing import PackPlan, epoch_order, plan_packs

BatchT = TypeVar("BatchT")
AHEAD = 2  # steps prepared while the model works


@dataclass(frozen=True, slots=True)
class Step(Generic[BatchT]):
    """One optimizer step: this rank's batches, and what all ranks together hold."""

    number: int  # counted from 1
    epoch: float
    batches: list[BatchT]
    targets: int  # over all ranks
    tokens: int  # over all ranks


@dataclass(frozen=True, slots=True)
class Schedule:
    """The plans of all epochs; the number of steps is known before the first."""

    plans: tuple[PackPlan, ...]
    total: int

    def locate(self, step: int) -> tuple[int, int]:
        """(epoch, step in it) of 0-based optimizer step `step`."""
        for epoch, plan in enumerate(self.plans):
            if step < len(plan):
                return epoch, step
            step -= len(plan)
        raise IndexError(step)


def plan_run(corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int, world: int = 1) -> Schedule:
    """Plan every epoch of a run over the samples `chosen`; a fractional last epoch is cut to its first steps."""
    budget = Budget(train.pack_tokens, train.pack_images)
    weights = np.zeros(len(corpus))
    weights[chosen] = corpus.weights[chosen]
    together = partial(corpus.units, budget=train.pack_tokens) if train.fold == "auto" else None
    plans: list[PackPlan] = []
    total = 0
    for epoch in range(int(np.ceil(train.epochs))):
        order = epoch_order(weights, seed, epoch, corpus.shares if train.order == "by_image" else None)
        plan = plan_packs(
            corpus.lengths,
            corpus.image_counts,
            budget,
            batch=train.batch,
            order=order,
            mode=train.packing,
            world=world,
            units=together,
        )
        plans.append(plan)
        total += max(1, round(len(plan) * min(1.0, train.epochs - epoch)))
        if train.max_steps and total >= train.max_steps:
            return Schedule(tuple(plans), train.max_steps)
    return Schedule(tuple(plans), total)


class Loader(Generic[BatchT]):
    """Turns a schedule into steps; `make(indices)` builds the batch of one pack."""

    def __init__(
        self,
        corpus: Corpus,
        schedule: Schedule,
        make: Callable[[tuple[int, ...]], BatchT],
        rank: int = 0,
    ) -> None:
        self.corpus, self.schedule, self.make, self.rank = corpus, schedule, make, rank

    def steps(self, done: int) -> Iterator[Step[BatchT]]:
        """The steps behind the first `done`, in order, made ahead by one thread."""
        numbers = range(done, self.schedule.total)
        waiting: list[Future[Step[BatchT]]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
            try:
                for number in numbers:
                    waiting.append(pool.submit(self._step, number))
                    if len(waiting) > AHEAD:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()

    def _step(self, number: int) -> Step[BatchT]:
        epoch, within = self.schedule.locate(number)
        plan = self.schedule.plans[epoch]
        everyone = np.concatenate(plan.steps[within])
        return Step(
            number=number + 1,
            epoch=epoch + (within + 1) / len(plan),
            batches=[self.make(tuple(map(int, pack))) for pack in plan.packs(within, self.rank)],
            targets=int(self.corpus.targets[everyone].sum()),
            tokens=int(self.corpus.lengths[everyone].sum()),
        )
