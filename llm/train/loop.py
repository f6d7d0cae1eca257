"""The one training loop. It knows steps, gradients and rows of metrics; never a model."""

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
from llm.train.checkpoint import Progress
from llm.train.engine import Engine
from llm.train.metrics import NullLog, RunLog, now
from llm.train.optimizer import lr_factor
from llm.train.process_memory import peak_memory_gib
from llm.train.run_parts import BatchT


@dataclass(frozen=True, slots=True)
class LoopCallbacks(Generic[BatchT]):
    """What the loop does, as plain functions: the loss of a batch, and the things done now and then."""

    loss: Callable[[BatchT], Tensor]  # summed over the batch's targets
    place: Callable[[int], str]  # for errors: file and line of a record of the corpus
    save: Callable[[Progress], None]
    validate: Callable[[], float | None]  # mean loss over held-out targets; None without such data
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

    Raises TrainingError before the weights move when a loss or gradient is not finite, and Interrupted after the
    step was saved when the process is asked to stop.
    """
    total = loader.schedule.total
    progress, window = start, MetricsWindow()
    if start.step == 0:
        callbacks.probe(0)
    with _asked_to_stop() as asked:
        ready = time.perf_counter()
        for step in loader.steps(start.step):
            began = time.perf_counter()
            factor = lr_factor(step.number - 1, total, optim)
            loss = _accumulate(callbacks, engine, step)
            norm = engine.step(factor)
            loss, stopping = _of_all(loss, bool(asked))
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
                log.write(window.row(step, factor * optim.lr))
                window = MetricsWindow()
            if due(step.number, train.validate_every) or progress.finished:
                _validate(callbacks, log, step.number)
            if due(step.number, train.sample_every) or progress.finished:
                callbacks.probe(step.number)
            if due(step.number, train.save_every) or progress.finished or stopping:
                progress = replace(progress, metrics=log.position())
                callbacks.save(progress)
            if stopping and not progress.finished:
                raise Interrupted(asked[0] if asked else signal.SIGTERM, step.number)
            ready = time.perf_counter()
    return progress


def due(step: int, every: int) -> bool:
    """True on every `every`-th step; never when it is 0."""
    return every > 0 and step % every == 0


def _accumulate(callbacks: LoopCallbacks[BatchT], engine: Engine, step: OptimizerStep[BatchT]) -> Tensor:
    """Gradients of the mean over the step's targets, however it is cut into batches; returns that mean, fp32."""
    total = torch.zeros(())
    for batch in step.batches:
        with _named_when_full(step, batch):
            loss = callbacks.loss(batch) / step.targets
            engine.backward(loss)
        total = total.to(loss.device) + loss.detach()
    return total


def _of_all(loss: Tensor, asked: bool) -> tuple[Tensor, bool]:
    """The loss over all processes' packs, and whether any of them was asked to stop: all stop behind the same step."""
    if distributed.ranks().world == 1:
        return loss, asked
    told = distributed.all_reduce_sum(torch.stack([loss, torch.tensor(float(asked), device=loss.device)]))
    return told[0], bool(told[1] > 0)


@contextmanager
def _named_when_full(step: OptimizerStep[BatchT], batch: BatchT) -> Iterator[None]:
    """Say which pack did not fit; nothing is made smaller silently, and the weights have not moved."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError on a card; a CPU's allocator has no type of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"step {step.number}: out of memory on a pack of {batch.describe()}; the weights were not changed. "
            f"Lower train.pack_tokens or data.max_length, or set train.recompute: true"
        ) from error


def _refuse_infinite(loss: Tensor, norm: Tensor, step: OptimizerStep[BatchT], callbacks: LoopCallbacks[BatchT]) -> None:
    if math.isfinite(float(loss)) and math.isfinite(float(norm)):
        return
    names = "\n  ".join("; ".join(map(callbacks.place, batch.samples)) for batch in step.batches)
    raise TrainingError(
        f"step {step.number}: loss {float(loss)}, gradient norm {float(norm)}; the weights were not changed. "
        f"Lower optim.lr, set optim.clip, or look at this step's records:\n  {names}"
    )


def _validate(callbacks: LoopCallbacks[BatchT], log: RunLog | NullLog, step: int) -> None:
    loss = callbacks.validate()
    if loss is not None:
        log.write({"kind": "validation", "step": step, "loss": loss, "time": now()})


class MetricsWindow:
    """Means since the last row, kept as tensors until a row is written."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._tokens, self._seconds, self._waited = 0, 0.0, 0.0

    def add(self, loss: Tensor, norm: Tensor, tokens: int, seconds: float, waited: float) -> None:
        """One step, and how long it had to wait for its batches."""
        self._losses.append(loss)
        self._norms.append(norm)
        self._tokens += tokens
        self._seconds += seconds
        self._waited += waited

    def row(self, step: OptimizerStep[BatchT], rate: float) -> dict[str, float | int | str]:
        """The row of metrics.jsonl for these steps."""
        return {
            "kind": "train",
            "step": step.number,
            "epoch": round(step.epoch, 4),
            "loss": float(torch.stack(self._losses).mean()),
            "lr": rate,
            "grad_norm": float(torch.stack(self._norms).mean()),
            "tokens_per_s": round(self._tokens / self._seconds, 1),
            "input_wait": round(self._waited / (self._waited + self._seconds), 4),  # share of the time
            "memory_gib": round(peak_memory_gib(), 2),
            "time": now(),
        }


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM arrives and then holds its number; a second one acts at once."""
    asked: list[int] = []

    def remember(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
