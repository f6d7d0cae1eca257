"""The training loop over parts of the test's own: what it calls at which step, what it writes, and when it stops."""

import json
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.config.schema import OptimConfig, TrainConfig
from llm.data.loader import OptimizerStep
from llm.errors import TrainingError
from llm.train import loop
from llm.train.checkpoint_state import OpenWindow, Progress
from llm.train.loop import Interrupted, LoopCallbacks, MetricsWindow, due, fit
from llm.train.run_parts import NO_FIGURES

TOTAL = 7
OPTIM = OptimConfig(lr=0.5, warmup=0.0, schedule="linear")  # a rate of 0.5 * (1 - done / total)


class Engine:
    """Keeps what it is given; the norm of step n is n / 2."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.factors: list[float] = []
        self.norms: dict[int, float] = {}

    def backward(self, loss: Tensor) -> None:
        self.losses.append(float(loss))

    def step(self, factor: float, figures: list[Tensor]) -> list[float]:
        self.factors.append(factor)
        number = len(self.factors)
        return [*map(float, figures), self.norms.get(number, number / 2)]


class Log:
    """Rows and bars, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.bar: list[int] = []

    def write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def advance(self, step: int) -> None:
        self.bar.append(step)

    def position(self) -> int:
        return 100 * len(self.rows)


class Pack(int):
    """A batch that is a number, of one record with the same number."""

    @property
    def samples(self) -> tuple[int, ...]:
        return (int(self),)

    def describe(self) -> str:
        return f"{int(self)} tokens"


class Recorder:
    """A run whose batches are numbers: batch b has the summed loss 12 b; a step has 8 targets and two batches."""

    def __init__(self) -> None:
        self.engine, self.log = Engine(), Log()
        self.saved: list[Progress] = []
        self.validated = self.evaluated = 0
        self.probed: list[int] = []
        self.first = 0
        self.signal_in = 0  # the step in which the process is asked to stop
        self.ticks = 0.0
        self.loss: Callable[[int], Tensor] = self.summed_loss

    def clock(self) -> float:
        """A quarter of a second passes at every call."""
        self.ticks += 0.25
        return self.ticks

    def steps(self, done: int) -> Iterator[OptimizerStep[Any]]:
        self.first = done
        for number in range(done + 1, TOTAL + 1):
            yield OptimizerStep(number, number / 3, [Pack(number), Pack(2 * number)], targets=8, tokens=10 * number)

    def summed_loss(self, batch: int) -> Tensor:
        if batch == self.signal_in:
            os.kill(os.getpid(), signal.SIGTERM)
        return torch.tensor(12.0 * batch)

    def validate(self) -> Mapping[str, float]:
        self.validated += 1
        return {"loss": 0.25} if self.validated == 1 else {}

    def evaluate(self) -> Mapping[str, float]:
        self.evaluated += 1
        return {"score": [0.2, 0.6, 0.4][self.evaluated - 1], "pope_f1": 0.5}

    def work(self) -> LoopCallbacks[Any]:
        return LoopCallbacks(
            loss=self.loss,
            place=lambda sample: f"record {sample}",
            save=self.saved.append,
            validate=self.validate,
            probe=self.probed.append,
            evaluate=self.evaluate,
        )

    def run(self, start: Progress | None = None, **train: Any) -> Progress:
        loader: Any = SimpleNamespace(schedule=SimpleNamespace(total=TOTAL), steps=self.steps)
        engine: Any = self.engine
        log: Any = self.log
        return fit(self.work(), engine, loader, log, TrainConfig(**train), OPTIM, start or Progress())

    def trained(self) -> list[dict[str, Any]]:
        return [row for row in self.log.rows if row["kind"] == "train"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=recorder.clock))  # the loop's alone
    return recorder


def test_gradients_are_of_the_mean_over_the_steps_targets(run: Recorder) -> None:
    """Batches n and 2n of step n: (12 n + 24 n) / 8 in all."""
    run.run(log_every=1, save_every=0)
    assert run.engine.losses == [value for n in range(1, TOTAL + 1) for value in (1.5 * n, 3.0 * n)]
    assert [row["loss"] for row in run.trained()] == [4.5 * n for n in range(1, TOTAL + 1)]


def test_the_rate_of_each_step(run: Recorder) -> None:
    run.run(log_every=1, save_every=0)
    expected = [1 - done / TOTAL for done in range(TOTAL)]
    assert run.engine.factors == pytest.approx(expected)
    assert [row["lr"] for row in run.trained()] == pytest.approx([0.5 * factor for factor in expected])


def test_a_row_is_the_mean_since_the_last_one(run: Recorder) -> None:
    """Each step looks at the clock three times: 0.25 s waiting and 0.25 s working, of which the first is not waited."""
    run.run(log_every=3, save_every=0)
    rows = run.trained()
    assert [row["step"] for row in rows] == [3, 6, 7], "every third, and the last"
    assert [row["loss"] for row in rows] == [4.5 * 2, 4.5 * 5, 4.5 * 7]
    assert [row["grad_norm"] for row in rows] == [1.0, 2.5, 3.5]
    assert [row["epoch"] for row in rows] == [1.0, 2.0, 2.3333]
    assert [row["tokens_per_s"] for row in rows] == [60 / 0.75, 150 / 0.75, 70 / 0.25]
    assert [row["input_wait"] for row in rows] == [0.5, 0.5, 0.5]
    assert [row["step_seconds"] for row in rows] == [0.666667, 0.75, 0.75], "the first begins when its process is ready"
    assert run.log.bar == [1, 2, 3, 4, 5, 6, 7]
    assert all(0 < row["memory_gib"] < 1000 and row["time"] > 1.7e9 for row in rows)


def test_a_row_that_an_interruption_cuts_is_the_same(run: Recorder) -> None:
    """Steps 1 and 2 were done by another process; the time between the two is part of no row."""
    run.run(log_every=3, save_every=2)
    rows, saved = run.trained(), Progress.parse(json.loads(json.dumps(asdict(run.saved[0]))))
    assert saved == run.saved[0] and saved.step == 2 and len(saved.window.losses) == 2
    run.log.rows, run.engine = [], Engine()
    run.engine.factors = [0.0, 0.0]  # its norms follow from the steps that it has done
    run.run(saved, log_every=3, save_every=2)
    figures = ("step", "epoch", "loss", "lr", "grad_norm", "tokens_per_s", "input_wait")
    assert [[row[key] for key in figures] for row in run.trained()] == [[row[key] for key in figures] for row in rows]


def test_figures_are_rounded() -> None:
    window = MetricsWindow(began=10.0)
    window.add(1.0, 2.0, tokens=100, seconds=3.0, waited=4.0)
    row = window.line(OptimizerStep(4, 1 / 3, [], 1, 1), rate=0.1, ended=19.1234567, figures=NO_FIGURES)
    assert (row["kind"], row["step"], row["epoch"], row["lr"]) == ("train", 4, 0.3333, 0.1)
    assert (row["tokens_per_s"], row["input_wait"], row["step_seconds"]) == (33.3, 0.5714, 9.123457)
    assert type(row["loss"]) is float and type(row["grad_norm"]) is float, "JSON knows no tensors"


def test_what_is_done_now_and_then(run: Recorder) -> None:
    """Validation, probes and checkpoints at their own steps and at the end; probes before the first step as well."""
    last = run.run(log_every=100, save_every=3, validate_every=4, sample_every=2)
    assert [progress.step for progress in run.saved] == [3, 6, 7]
    assert run.validated == 2 and [row for row in run.log.rows if row["kind"] == "validation"] == [
        {"kind": "validation", "step": 4, "loss": 0.25, "time": run.log.rows[0]["time"]}
    ], "without held-out data nothing is written"
    assert run.probed == [0, 2, 4, 6, 7]
    assert run.saved[-1] == last and [progress.finished for progress in run.saved] == [False, False, True]
    assert last == Progress(step=7, tokens=280, seconds=7 * 0.25, metrics=200, finished=True)
    window = OpenWindow((4.5, 9.0, 13.5), (0.5, 1.0, 1.5), tokens=60, seconds=0.75, waited=0.75, wall=2.0)
    assert run.saved[0] == Progress(step=3, tokens=60, seconds=0.75, metrics=0, window=window)


def test_nothing_is_done_now_and_then_unless_asked(run: Recorder) -> None:
    run.run(log_every=100, save_every=0, validate_every=0, sample_every=0)
    assert ([progress.step for progress in run.saved], run.validated, run.probed) == ([7], 1, [0, 7])
    assert [due(step, 2) for step in (1, 2, 3, 4)] == [False, True, False, True]
    assert not due(4, 0) and not due(4, -2) and due(4, 1)


def test_an_evaluation_is_a_line_of_metrics_and_may_choose_the_best(run: Recorder) -> None:
    plan = {"every": 3, "files": ("pope.jsonl",)}
    last = run.run(log_every=100, save_every=0, evaluate=plan, keep_best="evaluation")
    rows = [row for row in run.log.rows if row["kind"] == "evaluation"]
    assert [(row["step"], row["score"], row["pope_f1"]) for row in rows] == [
        (3, 0.2, 0.5),
        (6, 0.6, 0.5),
        (7, 0.4, 0.5),
    ]
    assert [progress.step for progress in run.saved] == [3, 6, 7], "each improvement is saved"
    assert (last.best_step, last.best) == (6, 0.6), "the larger one is the better one"


def test_it_goes_on_after_what_is_done(run: Recorder) -> None:
    last = run.run(Progress(step=4, tokens=1000, seconds=2.0, metrics=5), log_every=1, save_every=0)
    assert run.first == 4 and run.engine.factors == pytest.approx([1 - done / TOTAL for done in (4, 5, 6)])
    assert run.probed == [7], "the probe before the first step was asked when it was the first"
    assert (last.step, last.tokens, last.seconds) == (7, 1000 + 50 + 60 + 70, 2.75)


def test_a_signal_ends_it_after_the_step_it_came_in(run: Recorder) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run.signal_in = 3
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 3; saved. Run the same command") as stopped:
        run.run(save_every=100, log_every=100)
    assert stopped.value.exit_code == 143
    assert [progress.step for progress in run.saved] == [3] and len(run.engine.factors) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_in_the_last_step_changes_nothing(run: Recorder) -> None:
    run.signal_in = 7
    assert run.run(save_every=0).finished and [progress.step for progress in run.saved] == [7]


def test_a_second_signal_acts_at_once(run: Recorder) -> None:
    run.signal_in = 3
    loss = run.loss

    def twice(batch: int) -> Tensor:
        if batch == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(batch)

    run.loss = twice
    with pytest.raises(KeyboardInterrupt):
        run.run(save_every=100)
    assert run.saved == [] and len(run.engine.factors) == 2


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_ends_it_and_names_the_records(run: Recorder, norm: float) -> None:
    run.engine.norms[2] = norm
    with pytest.raises(TrainingError) as stopped:
        run.run(save_every=1, log_every=1)
    assert str(stopped.value) == (
        f"step 2: loss 9.0, gradient norm {norm}; the weights were not changed. Lower optim.lr, set optim.clip, "
        "or look at this step's records:\n  record 2\n  record 4"
    )
    assert [progress.step for progress in run.saved] == [1] and len(run.trained()) == 1


def test_a_loss_that_is_not_finite_ends_it(run: Recorder) -> None:
    run.loss = lambda batch: torch.tensor(math.nan if batch == 4 else 1.0)
    with pytest.raises(TrainingError, match="step 2: loss nan, gradient norm 1.0;"):
        run.run(save_every=0)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("another"), False),
    ],
)
def test_a_pack_that_does_not_fit_is_named(run: Recorder, error: RuntimeError, named: bool) -> None:
    def fails(batch: int) -> Tensor:
        raise error

    run.loss = fails
    expected = (
        (TrainingError, r"^step 1: out of memory on a pack of 1 tokens; the weights")
        if named
        else (RuntimeError, "^another$")
    )
    with pytest.raises(expected[0], match=expected[1]):
        run.run()


def test_losses_of_all_processes_are_summed_and_one_signal_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, of which the other brings a loss of 3 and, in the second case, was asked to stop."""
    monkeypatch.setattr(loop.distributed, "ranks", lambda: SimpleNamespace(world=2))
    for other, own in ((0.0, False), (1.0, False), (0.0, True)):
        added = torch.tensor([3.0, 0.25, other])
        monkeypatch.setattr(loop.distributed, "all_reduce_sum", lambda values, added=added: values + added)
        summed = loop._over_processes(torch.tensor(1.5), own, torch.tensor([0.5]))
        assert [float(figure) for figure in summed] == [4.5, 0.75, other + own]


def test_a_step_in_which_another_process_was_asked_to_stop_is_the_last(
    run: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduced(loss: Tensor, _: bool, __: Tensor) -> list[Tensor]:
        return [loss, torch.tensor(float(len(run.engine.factors) == 2))]

    monkeypatch.setattr(loop, "_over_processes", reduced)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 3; saved"):
        run.run(save_every=0)
    assert [progress.step for progress in run.saved] == [3]


def test_the_checkpoint_of_a_run_is_where_its_log_was(run: Recorder, tmp_path: Path) -> None:
    """Rows are written before the checkpoint that counts their bytes."""
    run.run(log_every=2, save_every=2)
    assert [progress.metrics for progress in run.saved] == [
        100,
        200,
        300,
        500,
    ]  # 7: a row of training, one of validation
