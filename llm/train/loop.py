"""The training loop. It knows optimizer steps, gradients and metrics, and nothing of models."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic

import torch
from torch import Tensor

from llm import distributed
from llm.config.schema import OptimConfig, TrainConfig
from llm.data.loader import Loader, OptimizerStep
from llm.errors import RunError, TrainingError
from llm.train.checkpoint_state import Progress
from llm.train.engine import Engine
from llm.train.metrics import NullLog, RunLog, now
from llm.train.optimizer import lr_factor
from llm.train.process_memory import peak_memory_gib
from llm.train.run_parts import BatchT


@dataclass(frozen=True, slots=True)
class LoopCallbacks(Generic[BatchT]):
    """What the loop calls: the loss of every batch, and what is done every so many steps."""

    loss: Callable[[BatchT], Tensor]  # summed over the batch's targets
    place: Callable[[int], str]  # file and line of a record of the corpus, for errors
    save: Callable[[Progress], None]
    validate: Callable[[], float | None]  # mean loss over the validation targets; None without such data
    probe: Callable[[int], None]


class Interrupted(RunError):
    """SIGINT or SIGTERM arrived: the step was finished and saved."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}; saved. Run the same command to go on"
        )
        self.exit_code = 128 + number


def fit(
    callbacks: LoopCallbacks[BatchT],
    engine: Engine,
    loader: Loader[BatchT],
    log: RunLog | NullLog,
    train: TrainConfig,
    optim: OptimConfig,
    start: Progress,
) -> Progress:
    """Train from `start` to the end of the loader's schedule and return the final progress.

    One host sync a step: `engine.step` copies loss and gradient norm to the host. Raises TrainingError before the
    weights change when one of them is not finite, and Interrupted after the step was saved when SIGINT or SIGTERM came.
    """
    total = loader.schedule.total
    progress, window = start, MetricsWindow()
    if start.step == 0:
        callbacks.probe(0)
    with _stop_signals() as signals:
        ready = time.perf_counter()
        for step in loader.steps(start.step):
            began = time.perf_counter()
            factor = lr_factor(step.number - 1, total, optim)
            figures = _over_processes(_accumulate(callbacks, engine, step), bool(signals))
            loss, *stops, norm = engine.step(factor, figures)
            stopping = any(stops) if stops else bool(signals)
            _refuse_infinite(loss, norm, step, callbacks)
            elapsed = time.perf_counter() - began
            progress = replace(
                progress,
                step=step.number,
                tokens=progress.tokens + step.tokens,
                seconds=progress.seconds + elapsed,
                finished=step.number == total,
            )
            window.add(loss, norm, step.tokens, elapsed, waited=began - ready)
            log.advance(step.number)
            if step.number % train.log_every == 0 or progress.finished:
                log.write(window.line(step, factor * optim.lr))
                window = MetricsWindow()
            if due(step.number, train.validate_every) or progress.finished:
                _validate(callbacks, log, step.number)
            if due(step.number, train.sample_every) or progress.finished:
                callbacks.probe(step.number)
            if due(step.number, train.save_every) or progress.finished or stopping:
                progress = replace(progress, metrics=log.position())
                callbacks.save(progress)
            if stopping and not progress.finished:
                raise Interrupted(signals[0] if signals else signal.SIGTERM, step.number)
            ready = time.perf_counter()
    return progress


def due(step: int, every: int) -> bool:
    """True on every `every`-th step; never when it is 0."""
    return every > 0 and step % every == 0


def _accumulate(callbacks: LoopCallbacks[BatchT], engine: Engine, step: OptimizerStep[BatchT]) -> Tensor:
    """Accumulate the gradients of the step's mean loss over all its targets; returns this process's part of it, fp32.

    The batches' losses are summed and divided by the targets of the step, so the gradient does not depend on how the
    step is cut into batches.
    """
    losses: list[Tensor] = []
    for batch in step.batches:
        with _out_of_memory_named(step, batch):
            loss = callbacks.loss(batch) / step.targets
            engine.backward(loss)
        losses.append(loss.detach())
    return sum(losses[1:], losses[0])


def _over_processes(loss: Tensor, stop: bool) -> list[Tensor]:
    """The loss summed over all processes and how many of them are to stop, so that all stop after the same step.

    In a process by itself the loss alone: its own signals are looked at after the step.
    """
    if distributed.ranks().world == 1:
        return [loss]
    return [*distributed.all_reduce_sum(torch.stack([loss, loss.new_full((), float(stop))]))]


@contextmanager
def _out_of_memory_named(step: OptimizerStep[BatchT], batch: BatchT) -> Iterator[None]:
    """Raise TrainingError naming the size of the pack that did not fit; the weights have not changed."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError on a card; the CPU's allocator has no type of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"step {step.number}: out of memory on a pack of {batch.describe()}; the weights were not changed. "
            f"Lower train.pack_tokens or data.max_length, or set train.recompute: true"
        ) from error


def _refuse_infinite(loss: float, norm: float, step: OptimizerStep[BatchT], callbacks: LoopCallbacks[BatchT]) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    names = "\n  ".join("; ".join(map(callbacks.place, batch.samples)) for batch in step.batches)
    raise TrainingError(
        f"step {step.number}: loss {loss}, gradient norm {norm}; the weights were not changed. "
        f"Lower optim.lr, set optim.clip, or look at this step's records:\n  {names}"
    )


def _validate(callbacks: LoopCallbacks[BatchT], log: RunLog | NullLog, step: int) -> None:
    loss = callbacks.validate()
    if loss is not None:
        log.write({"kind": "validation", "step": step, "loss": loss, "time": now()})


class MetricsWindow:
    """The steps since the last line of metrics."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._tokens, self._seconds, self._waited = 0, 0.0, 0.0

    def add(self, loss: float, norm: float, tokens: int, seconds: float, waited: float) -> None:
        """One step: `seconds` of computing, after `waited` seconds without a batch."""
        self._losses.append(loss)
        self._norms.append(norm)
        self._tokens += tokens
        self._seconds += seconds
        self._waited += waited

    def line(self, step: OptimizerStep[BatchT], rate: float) -> dict[str, float | int | str]:
        """The line of metrics.jsonl for these steps, of which `step` is the last. Means are computed in fp32."""
        return {
            "kind": "train",
            "step": step.number,
            "epoch": round(step.epoch, 4),
            "loss": float(torch.tensor(self._losses, dtype=torch.float32).mean()),
            "lr": rate,
            "grad_norm": float(torch.tensor(self._norms, dtype=torch.float32).mean()),
            "tokens_per_s": round(self._tokens / self._seconds, 1),
            "input_wait": round(self._waited / (self._waited + self._seconds), 4),  # share of the time
            "memory_gib": round(peak_memory_gib(), 2),
            "time": now(),
        }


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that holds the number of the first SIGINT or SIGTERM once it came; a second one interrupts at once."""
    signals: list[int] = []

    def remember(number: int, _: object) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
