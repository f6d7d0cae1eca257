"""The training loop. It knows optimizer steps, gradients and metrics, and nothing of models."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic

import torch
from torch import Tensor

from llm import distributed
from llm.config.schema import OptimConfig, TrainConfig
from llm.data.loader import Loader, OptimizerStep
from llm.errors import RunError, TrainingError
from llm.log import logger
from llm.printable import notify_from_signal_handler
from llm.train.checkpoint_state import OpenWindow, Progress
from llm.train.engine import Engine
from llm.train.metrics import NullLog, RunLog, now
from llm.train.optimizer import lr_factor
from llm.train.process_memory import peak_memory_gib
from llm.train.run_parts import NO_FIGURES, BatchT, StepFigures

NO_STEPS = OpenWindow()
SCORE = "score"  # of a line of metrics: what `train.keep_best` follows
REWARD_ACCURACY = "rewards/accuracies"
SAVING = "finishing this step, then saving; once more stops at once"


@dataclass(frozen=True, slots=True)
class LoopCallbacks(Generic[BatchT]):
    """What the loop calls: the loss of every batch, and what is done every so many steps."""

    loss: Callable[[BatchT], Tensor]  # summed over the batch's targets
    place: Callable[[int], str]  # file and line of a record of the corpus, for errors
    save: Callable[[Progress], None]
    validate: Callable[[], Mapping[str, float]]  # `loss` over validation records and others; empty without such data
    probe: Callable[[int], float | None]  # share of right answers; None where no probe has an expected one
    evaluate: Callable[[], Mapping[str, float]]  # metrics of `train.evaluate`, `score` first; empty without it
    figures: StepFigures = NO_FIGURES


class Interrupted(RunError):
    """SIGINT or SIGTERM arrived: the step was finished and saved."""

    label = ""  # no error

    def __init__(self, number: int, step: int, checkpoint: str = "") -> None:
        """`number`: of the signal; `checkpoint`: the folder that was saved."""
        where = f" in {checkpoint}" if checkpoint else ""
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}; saved{where}. Run the same command to go on"
        )
        self.number, self.step = number, step
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
    total, figures = loader.schedule.total, callbacks.figures
    progress = start
    figures.take()  # of packs that were tried before
    if start.step == 0:
        _probe(callbacks, log, 0)
    with _stop_signals() as signals:
        ready = time.perf_counter()
        window = MetricsWindow(ready, start.window)
        for step in loader.steps(start.step):
            began = time.perf_counter()
            factor = lr_factor(step.number - 1, total, optim)
            figures.begin(step.batches)
            loss_part = _accumulate(callbacks, engine, step)
            read = engine.step(factor, _over_processes(loss_part, bool(signals), figures.take()))
            loss, sums, norm = read[0], read[1 : 1 + figures.count], read[-1]
            stops = read[1 + figures.count : -1]
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
            figures.advance(sums)
            window.add(loss, norm, step.tokens, elapsed, waited=began - ready, sums=sums)
            log.advance(step.number)
            if step.number % train.log_every == 0 or progress.finished:
                log.write(window.line(step, factor * optim.lr, began + elapsed, figures))
                window = MetricsWindow(began + elapsed)
            progress = _measure(callbacks, log, train, progress)
            if progress.finished and window:
                log.write(window.line(step, factor * optim.lr, began + elapsed, figures))
            is_best = progress.best_step == step.number
            if due(step.number, train.save_every) or progress.finished or stopping or is_best:
                progress = replace(progress, metrics=log.position(), window=window.open(began + elapsed))
                callbacks.save(progress)
            if progress.finished:
                break
            if stopping:
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


def _over_processes(loss: Tensor, stop: bool, figures: Tensor) -> list[Tensor]:
    """The loss and the figures summed over all processes, and how many of them are to stop: all stop after one step.

    In a process by itself without the last: its own signals are looked at after the step.
    """
    if distributed.ranks().world == 1:
        return [loss, *figures]
    return [*distributed.all_reduce_sum(torch.cat([loss[None], figures.to(loss), loss.new_full((1,), float(stop))]))]


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


def _measure(
    callbacks: LoopCallbacks[BatchT], log: RunLog | NullLog, train: TrainConfig, progress: Progress
) -> Progress:
    """Validate, evaluate and answer the probes where due; finished where `train.keep_best` has not improved for long.

    A run that ends so is evaluated and answers its probes at its end as any other.
    """
    step, found = progress.step, dict[str, float | None]()
    if due(step, train.validate_every) or progress.finished:
        figures = callbacks.validate()
        found |= {"validation_loss": figures.get("loss"), "reward_accuracy": figures.get(REWARD_ACCURACY)}
        if figures:
            log.write({"kind": "validation", "step": step, **figures, "time": now()})
    if train.evaluate is not None and (due(step, train.evaluate.every) or progress.finished):
        found["evaluation"] = _evaluate(callbacks, log, step)
    if due(step, train.sample_every) or progress.finished:
        found["probe_score"] = _probe(callbacks, log, step)
    value = found.get(train.keep_best)
    if value is None:
        return progress
    progress = progress.measured(value, larger_is_better=train.keep_best != "validation_loss")
    if progress.finished or not train.patience or progress.waited < train.patience:
        return progress
    logger.info(
        f"{train.keep_best} has not improved for {progress.waited} measurements; the run ends, "
        f"its best checkpoint is step {progress.best_step}"
    )
    if train.evaluate is not None and "evaluation" not in found:
        _evaluate(callbacks, log, step)
    if "probe_score" not in found:
        _probe(callbacks, log, step)
    return replace(progress, finished=True)


def _evaluate(callbacks: LoopCallbacks[BatchT], log: RunLog | NullLog, step: int) -> float:
    figures = callbacks.evaluate()
    log.write({"kind": "evaluation", "step": step, **figures, "time": now()})
    return figures[SCORE]


def _probe(callbacks: LoopCallbacks[BatchT], log: RunLog | NullLog, step: int) -> float | None:
    score = callbacks.probe(step)
    if score is not None:
        log.write({"kind": "probe", "step": step, "score": score, "time": now()})
    return score


class MetricsWindow:
    """The steps since the last line of metrics."""

    def __init__(self, began: float, before: OpenWindow = NO_STEPS) -> None:
        """`began`: when the last step before these ended, or this process was ready for its first, in seconds.

        `before`: steps of the window that another process has done.
        """
        self._began = began - before.wall
        self._losses, self._norms = list(before.losses), list(before.norms)
        self._tokens, self._seconds, self._waited = before.tokens, before.seconds, before.waited
        self._sums = list(before.sums)

    def __bool__(self) -> bool:
        return bool(self._losses)

    def add(
        self, loss: float, norm: float, tokens: int, seconds: float, waited: float, sums: Sequence[float] = ()
    ) -> None:
        """One step: `seconds` of computing, after `waited` seconds without a batch. `sums`: of the other figures."""
        self._sums = [old + new for old, new in zip(self._sums, sums, strict=True)] if self._sums else list(sums)
        self._losses.append(loss)
        self._norms.append(norm)
        self._tokens += tokens
        self._seconds += seconds
        self._waited += waited

    def open(self, ended: float) -> OpenWindow:
        """The same for a checkpoint; `ended`: when its last step ended."""
        if not self:
            return OpenWindow()
        sums = (self._tokens, self._seconds, self._waited, ended - self._began)
        return OpenWindow(tuple(self._losses), tuple(self._norms), *sums, tuple(self._sums))

    def line(
        self, step: OptimizerStep[BatchT], rate: float, ended: float, figures: StepFigures
    ) -> dict[str, float | int | str]:
        """The line of metrics.jsonl for these steps, of which `step` is the last. Means are computed in fp32.

        `ended`: when that step ended. `step_seconds` is the wall time of a step with all that happened before the next
        one, validation and saving included; the time in which the run was paused is not part of it.
        """
        return {
            "kind": "train",
            "step": step.number,
            "epoch": round(step.epoch, 4),
            "loss": float(torch.tensor(self._losses, dtype=torch.float32).mean()),
            "lr": rate,
            "grad_norm": float(torch.tensor(self._norms, dtype=torch.float32).mean()),
            **figures.metrics(self._sums),
            "tokens_per_s": round(self._tokens / self._seconds, 1),
            "input_wait": round(self._waited / (self._waited + self._seconds), 4),  # share of the time
            "step_seconds": round((ended - self._began) / len(self._losses), 6),
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
        notify_from_signal_handler(SAVING)  # at once: a step may take minutes

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
