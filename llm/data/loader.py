"""This rank's packs as batches, made one step ahead of the model. The state of a loader is one integer: the step."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm.config.schema import TrainConfig
from llm.data.bad_images import BadRecords
from llm.data.bin_packing import Indices, PackBudget
from llm.data.corpus import Corpus
from llm.data.packing import PackPlan, epoch_order, of_rank, plan_packs
from llm.errors import DataError, ImageError

BatchT = TypeVar("BatchT")
AHEAD = 2  # steps prepared while the model works


@dataclass(frozen=True, slots=True)
class OptimizerStep(Generic[BatchT]):
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
    plans: list[PackPlan] = []
    total = 0
    for epoch in range(int(np.ceil(train.epochs))):
        plan = plan_epoch(corpus, order_epoch(corpus, chosen, train, seed, epoch), train, world)
        plans.append(plan)
        total += max(1, round(len(plan) * min(1.0, train.epochs - epoch)))
        if train.max_steps and total >= train.max_steps:
            return Schedule(tuple(plans), train.max_steps)
    return Schedule(tuple(plans), total)


def order_epoch(corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int, epoch: int) -> Indices:
    """The order of the samples `chosen` in an epoch, each as often as its weight says; see `train.order`."""
    weights = np.zeros(len(corpus))
    weights[chosen] = corpus.weights[chosen]
    return epoch_order(weights, seed, epoch, corpus.shares if train.order == "by_image" else None)


def plan_epoch(corpus: Corpus, order: Indices, train: TrainConfig, world: int = 1) -> PackPlan:
    """The packs of one epoch over the samples in `order`, within the budgets of `train`, shared prefixes once.

    Raises ConfigError when a sample exceeds a budget by itself.
    """
    return plan_packs(
        corpus.lengths,
        corpus.image_counts,
        PackBudget(train.pack_tokens, train.pack_images),
        batch=train.batch,
        order=order,
        mode=train.packing,
        world=world,
        items=partial(corpus.pack_items, budget=train.pack_tokens) if train.fold == "auto" else None,
    )


@contextmanager
def _beside_the_model() -> Iterator[ThreadPoolExecutor]:
    """A pool of one thread that computes alone.

    Were it to open an OpenMP team of its own, threads would outnumber cores, and libgomp's would no longer wait for
    each other awake: on two cores a step that multiplies for 7 s then stood still for 2 s more.
    """
    import torch

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
        pool.submit(_compute_alone).result()
        torch.set_num_threads(threads)  # threads that begin later take what was set last
        yield pool


def _compute_alone() -> None:
    import torch

    torch.get_num_threads()  # a thread takes the number set last when it first asks: let that be done
    torch.set_num_threads(1)


class Loader(Generic[BatchT]):
    """Turns a schedule into steps; `make(indices)` builds the batch of one pack, `mute` takes its targets away."""

    def __init__(
        self,
        corpus: Corpus,
        schedule: Schedule,
        make: Callable[[tuple[int, ...]], BatchT],
        mute: Callable[[BatchT], BatchT],
        rank: int = 0,
        bad_records: BadRecords | None = None,
    ) -> None:
        self.corpus, self.schedule, self.make, self.mute, self.rank = corpus, schedule, make, mute, rank
        self.bad_records = bad_records

    def steps(self, done: int) -> Iterator[OptimizerStep[BatchT]]:
        """The steps behind the first `done`, in order, made ahead by one thread."""
        numbers = range(done, self.schedule.total)
        waiting: list[Future[OptimizerStep[BatchT]]] = []
        with _beside_the_model() as pool:
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

    def batch(self, pack: tuple[int, ...]) -> tuple[tuple[int, ...], BatchT]:
        """One pack by itself, before the first step: its records and its batch, without those that turned bad."""
        try:
            return pack, self.make(pack)
        except ImageError:
            if self.bad_records is None:
                raise
            self.bad_records.check(np.array(pack), 0)
        (rest,) = self._rest([np.array(pack)], 0)
        left = tuple(map(int, rest))
        return left, self.make(left)

    def _step(self, number: int) -> OptimizerStep[BatchT]:
        epoch, within = self.schedule.locate(number)
        plan = self.schedule.plans[epoch]
        packs, batches = self._packs(plan, within, number + 1)
        everyone = np.concatenate(packs)
        return OptimizerStep(
            number=number + 1,
            epoch=epoch + (within + 1) / len(plan),
            batches=batches,
            targets=int(self.corpus.targets[everyone].sum()),
            tokens=int(self.corpus.lengths[everyone].sum()),
        )

    def _packs(self, plan: PackPlan, within: int, number: int) -> tuple[list[Indices], list[BatchT]]:
        """The packs of all ranks without records whose pictures turned bad, and this rank's batches.

        All ranks must leave out the same records, or their target counts differ: each looks at all pictures of the
        step. A process alone reads each picture once and looks only after one failed. A picture that fails one rank
        and not the others (or breaks between the look and the reading) stops the run.
        """
        planned = plan.steps[within]
        if self.bad_records is None or not len(self.corpus.images.texts):
            return list(planned), self._made(planned, plan.world)
        ahead = plan.world > 1 and not self.bad_records.stop
        if ahead:
            self.bad_records.check(np.concatenate(planned), number)
        try:
            packs = self._rest(planned, number)
            return packs, self._made(packs, plan.world)
        except ImageError:
            if ahead:
                raise
            self.bad_records.check(np.concatenate(planned), number)
        packs = self._rest(planned, number)
        return packs, self._made(packs, plan.world)

    def _made(self, packs: Sequence[Indices], world: int) -> list[BatchT]:
        """This rank's batches, as many as every other rank's: each backward may be a meeting of all ranks.

        Where packs run out, a rank goes through one record without its targets, which adds 0 to every gradient.
        """
        own, idle = of_rank(packs, self.rank, world)
        batches = [self.make(tuple(map(int, pack))) for pack in own]
        return [*batches, self.mute(self.make((int(packs[0][0]),)))] if idle else batches

    def _rest(self, planned: Sequence[Indices], number: int) -> list[Indices]:
        """The packs without records with bad images; none is empty."""
        assert self.bad_records is not None
        packs = [rest for pack in planned if len(rest := self.bad_records.usable(pack, number))]
        if not packs:
            raise DataError(
                f"step {number}: no record is left, the pictures of all turned bad. Mend them, or raise "
                f"train.batch:\n  " + "\n  ".join(self.bad_records.lines())
            )
        return packs
