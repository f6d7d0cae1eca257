"""How far a run is and how fast: values computed by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlm.run_folders.metrics_tail import MetricsTail
from vlm.run_folders.progress import WINDOW, RunProgress, progress_of

PLAN = {"kind": "plan", "step": 0, "steps": 100, "time": 0.0}


def line(step: int, seconds: float | None = 2.0, time: float = 0.0, **figures: Any) -> dict[str, Any]:
    known = {} if seconds is None else {"step_seconds": seconds}
    return {"kind": "train", "step": step, "loss": 1.5, "tokens_per_s": 30.0, **known, "time": time, **figures}


def test_before_the_first_line() -> None:
    assert progress_of([]) == RunProgress() and progress_of([]).seconds_left(5.0) is None
    assert progress_of([PLAN]) == RunProgress(steps=100) and progress_of([PLAN]).seconds_left(5.0) is None


def test_the_seconds_that_are_left() -> None:
    """60 steps are left; they took 1, 2 and 3 s, so 2 s each; 8 s have gone by since the last line."""
    found = progress_of([PLAN, line(20, 1.0), line(30, 2.0), line(40, 3.0, time=1000.0)])
    assert found == RunProgress(40, 100, 1.5, 30.0, 2.0, 1000.0)
    assert found.seconds_left(1008.0) == 112.0
    assert found.seconds_left(10.0) == 120.0, "the clock was set back"
    assert found.seconds_left(9999.0) == 0.0, "a step that takes longer moves nothing into the past"


def test_a_pause_is_not_counted() -> None:
    """An hour between two lines: their own steps took 2 s each."""
    found = progress_of([PLAN, line(10, 2.0, time=20.0), line(20, 2.0, time=3640.0)])
    assert found.seconds_left(3640.0) == 160.0


def test_the_latest_lines_alone_count() -> None:
    slow = [line(step, 9.0) for step in range(1, 11)]
    fast = [line(step, 0.5) for step in range(11, 11 + WINDOW)]
    assert progress_of([PLAN, *slow, *fast]).step_seconds == 0.5


def test_lines_that_are_written_again_replace_the_first_ones() -> None:
    """After a kill at step 3 the run goes on from its checkpoint of step 1, on a slower machine."""
    first = [line(1, 1.0), line(2, 1.0), line(3, 1.0, loss=7.0)]
    assert progress_of([PLAN, *first, line(2, 4.0, loss=6.0)]) == RunProgress(2, 100, 6.0, 30.0, 2.5, 0.0)


@pytest.mark.parametrize("odd", [None, "fast", True, float("nan"), float("inf"), [1]])
def test_figures_that_are_no_numbers_are_unknown(odd: object) -> None:
    found = progress_of([{**PLAN, "steps": odd}, line(3, loss=odd, tokens_per_s=odd, step_seconds=odd, time=odd)])
    assert found == RunProgress(step=3) and found.seconds_left(0.0) is None


def test_validation_lines_say_nothing_of_the_speed() -> None:
    assert progress_of([PLAN, line(4), {"kind": "validation", "step": 9, "loss": 0.1, "time": 1.0}]).step == 4


def test_a_growing_file(tmp_path: Path) -> None:
    """Lines come once, half a line never; progress counts those that the reader knew before."""
    file = tmp_path / "metrics.jsonl"
    texts = [json.dumps(one) for one in (PLAN, line(1), line(2), line(3))]
    tail = MetricsTail(tmp_path, {"plan": 0, "train": 1})
    assert tail.read() == [] and tail.progress == RunProgress()
    file.write_text("\n".join(texts[:3]) + "\n" + texts[3][:20])
    assert [one["step"] for one in tail.read()] == [2] and tail.progress.step == 2
    file.write_text("\n".join(texts) + "\n")
    assert [one["step"] for one in tail.read()] == [3] and tail.progress == RunProgress(3, 100, 1.5, 30.0, 2.0, 0.0)
    file.write_text("\n".join([*texts[:2], "no line", json.dumps(line(2, 8.0, loss=0.5))]) + "\n")
    assert tail.read() == [], "it was known"
    assert (tail.progress.step, tail.progress.loss) == (2, 0.5)
