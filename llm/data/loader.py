"""The batches of this rank, step by step, made ahead of the model by a thread. A loader's state is the step number."""

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
AHEAD = 2  # steps that are made while the model computes one


@dataclass(frozen=True, slots=True)
class OptimizerStep(Generic[BatchT]):
    """One optimizer step: this rank's batches, and the counts over all ranks."""

    number: int  # counted from 1
    epoch: float
    batches: list[BatchT]
    targets: int  # what the loss is divided by, over all ranks: targets, or records where a run compares answers
    tokens: int  # over all ranks, shared prefixes counted for every sample


@dataclass(frozen=True, slots=True)
class Schedule:
    """The plans of all epochs, and the number of optimizer steps."""

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
    """Plan all epochs of a run over the samples `chosen`; of a fractional last epoch the first steps are run."""
    plans: list[PackPlan] = []
    total = 0
    for epoch in range(int(np.ceil(train.epochs))):
        plan = plan_epoch(corpus, order_epoch(corpus, chosen, train, seed, epoch), train, world)
        plans.append(plan)
        total += max(1, round(len(plan) * min(1.0, train.epochs - epoch)))
        if train.max_steps and total >= train.max_steps:
            return Schedule(tuple(plans), train.max_steps)
    return Schedule(tuple(plans), total)


def every_record(schedule: Schedule) -> Schedule:
    """The steps of a run's first epoch that it takes, and of later ones those with a record that these do not have."""
    first, *later = schedule.plans
    steps = list(first.steps[: schedule.total])
    seen = set(np.concatenate([pack for step in steps for pack in step]).tolist())
    left = schedule.total - len(steps)
    for plan in later:
        for step in plan.steps[:left]:
            records = np.concatenate(step).tolist()
            if not seen.issuperset(records):
                steps.append(step)
                seen.update(records)
        left -= len(plan)
    return Schedule((PackPlan(tuple(steps), first.world),), len(steps))


def order_epoch(corpus: Corpus, chosen: NDArray[np.int64], train: TrainConfig, seed: int, epoch: int) -> Indices:
    """The samples `chosen` in the order of an epoch (`train.order`), each as often as its weight says."""
    weights = np.zeros(len(corpus))
    weights[chosen] = corpus.weights[chosen]
    return epoch_order(weights, seed, epoch, corpus.shares if train.order == "by_image" else None)


def plan_epoch(corpus: Corpus, order: Indices, train: TrainConfig, world: int = 1) -> PackPlan:
    """The packs of one epoch over the samples in `order`, within the budgets of `train`; shared prefixes count once.

    Raises ConfigError when a single sample exceeds a budget.
    """
    return plan_packs(
        corpus.lengths,
        corpus.image_costs,
        PackBudget(train.pack_tokens, train.pack_images),
        batch=train.batch,
        order=order,
        mode=train.packing,
        world=world,
        items=partial(corpus.pack_items, budget=train.pack_tokens) if train.fold == "auto" else None,
    )


@contextmanager
def _loader_thread() -> Iterator[ThreadPoolExecutor]:
    """A pool of one thread whose torch operations are single-threaded.

    With an OpenMP team of its own there would be more threads than cores, and libgomp's threads would sleep instead of
    spin at barriers: on two cores a step with 7 s of matrix products took 2 s longer.
    """
    import torch

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
        pool.submit(_use_one_thread).result()
        torch.set_num_threads(threads)  # threads that start later take the number that was set last
        yield pool


def _use_one_thread() -> None:
    import torch

    torch.get_num_threads()  # a thread reads the number set last at its first call: before it sets its own
    torch.set_num_threads(1)


class Loader(Generic[BatchT]):
    """The steps of a schedule. `make(indices)` builds the batch of one pack, `mute` a copy whose targets are ignored.

    `bad_records`: those that are left out, or None where images are not checked. `counts` [n]: what of each record a
    step's loss is divided by; its targets when None.
    """

    def __init__(
        self,
        corpus: Corpus,
        schedule: Schedule,
        make: Callable[[tuple[int, ...]], BatchT],
        mute: Callable[[BatchT], BatchT],
        rank: int = 0,
        bad_records: BadRecords | None = None,
        counts: Indices | None = None,
    ) -> None:
        self.corpus, self.schedule, self.make, self.mute, self.rank = corpus, schedule, make, mute, rank
        self.bad_records = bad_records
        self.counts = corpus.targets if counts is None else counts

    def steps(self, done: int) -> Iterator[OptimizerStep[BatchT]]:
        """The steps after the first `done`, in order, made AHEAD by one thread."""
        numbers = range(done, self.schedule.total)
        waiting: list[Future[OptimizerStep[BatchT]]] = []
        with _loader_thread() as pool:
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
        """The batch of one pack before the first step, and its records, without bad ones."""
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
        samples = np.concatenate(packs)
        return OptimizerStep(
            number=number + 1,
            epoch=epoch + (within + 1) / len(plan),
            batches=batches,
            targets=int(self.counts[samples].sum()),
            tokens=int(self.corpus.lengths[samples].sum()),
        )

    def _packs(self, plan: PackPlan, within: int, number: int) -> tuple[list[Indices], list[BatchT]]:
        """The packs of all ranks without bad records, and this rank's batches.

        All ranks must leave out the same records, or their target counts differ: each checks all images of the step.
        A single process reads each image once and checks them only after one has failed. An image that fails on one
        rank alone, or between the check and the reading, stops the run.
        """
        planned = plan.steps[within]
        if self.bad_records is None or not len(self.corpus.images.texts):
            return list(planned), self._made(planned, plan.world)
        check_first = plan.world > 1 and not self.bad_records.stop
        if check_first:
            self.bad_records.check(np.concatenate(planned), number)
        try:
            packs = self._rest(planned, number)
            return packs, self._made(packs, plan.world)
        except ImageError:
            if check_first:
                raise
            self.bad_records.check(np.concatenate(planned), number)
        packs = self._rest(planned, number)
        return packs, self._made(packs, plan.world)

    def _made(self, packs: Sequence[Indices], world: int) -> list[BatchT]:
        """This rank's batches, as many as on every other rank: each backward pass may be a collective.

        A rank without a pack of its own computes one record with its targets ignored, which adds 0 to every gradient.
        """
        own, idle = of_rank(packs, self.rank, world)
        batches = [self.make(tuple(map(int, pack))) for pack in own]
        return [*batches, self.mute(self.make((int(packs[0][0]),)))] if idle else batches

    def _rest(self, planned: Sequence[Indices], number: int) -> list[Indices]:
        """The packs without bad records; empty ones are left out. Raises DataError when none is left."""
        assert self.bad_records is not None
        packs = [rest for pack in planned if len(rest := self.bad_records.usable(pack, number))]
        if not packs:
            raise DataError(
                f"step {number}: no record is left, all have images that cannot be read. Repair them, or raise "
                f"train.batch:\n  " + "\n  ".join(self.bad_records.lines())
            )
        return packs
