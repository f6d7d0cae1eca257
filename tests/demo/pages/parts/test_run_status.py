"""The status of runs from their folders, and their curves."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.pages.i18n import state_text
from demo.pages.parts.curves import draw_curves
from demo.pages.parts.run_status import find_runs, read_report, read_run, stamp, state_of


def test_the_status_of_a_run_from_its_folder(bananas: Path) -> None:
    assert find_runs(bananas / "runs") == (["banana"], {})
    view = read_run(bananas / "runs" / "banana")
    assert view.state.finished and view.state.step == view.state.total == 80
    drawn = draw_curves(view.lines).axes[0].lines[0].get_xydata()
    lines = [line for line in view.lines if line["kind"] == "train"]
    assert len(lines) == 16 and np.array_equal(drawn, [(line["step"], line["loss"]) for line in lines])
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert ["steps", "80"] in view.report and "plan" in view.tail


def lines(*steps: tuple[int, float]) -> list[dict[str, Any]]:
    plan = [{"kind": "plan", "step": 0, "steps": 100, "time": 0.0}]
    return plan + [{"kind": "train", "step": step, "loss": 1.0, "time": when} for step, when in steps]


def test_the_remaining_time_uses_the_latest_speed(tmp_path: Path) -> None:
    """Ten steps took 10 s at first and 20 s recently: the latter counts."""
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    now = (tmp_path / "metrics.jsonl").stat().st_mtime + 7
    lately = lines((10, 10.0), (20, 20.0), (30, 40.0), (40, 60.0), (50, 80.0), (60, 100.0))
    state = state_of(tmp_path, lately, now)
    assert (state.step, state.total, state.finished, state.silent) == (60, 100, False, False)
    assert state.left_seconds == pytest.approx(40 * 80 / 40)
    assert state.silent_seconds == pytest.approx(7, abs=0.1)
    assert state_of(tmp_path, lately, now + 1000).silent
    assert state_of(tmp_path, lines((10, 0.0), (20, 500.0)), now + 1000).silent is False, "its lines are far apart"
    assert state_of(tmp_path, lines(), now).left_seconds is None
    assert state_of(tmp_path, lines((10, 0.0), (10, 5.0)), now).left_seconds is None, "no progress, no speed"


def test_curves_with_validation_and_of_a_new_run() -> None:
    train = {"kind": "train", "step": 1, "loss": 0.0, "lr": 1e-3, "tokens_per_s": 9.0, "memory_gib": 1.0}
    axes = draw_curves([train, {"kind": "validation", "step": 1, "loss": 2.0}]).axes[0]
    assert [len(line.get_xydata()) for line in axes.lines] == [1, 1] and axes.get_yscale() == "linear"
    assert draw_curves([{"kind": "plan", "step": 0}]).axes[0].lines[0].get_xydata().shape == (0, 2)


def test_the_status_of_a_finished_evaluation(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"vqa_accuracy": 0.9}')
    state = read_run(tmp_path).state
    assert (state.finished, state.step, state.total) == (True, 0, None)
    assert state_text(state, "en") == "**finished**"


def test_the_stamp_changes_with_the_files(tmp_path: Path) -> None:
    before = stamp(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    written = stamp(tmp_path)
    os.utime(tmp_path / "metrics.jsonl", (1, 1))
    assert before != written != stamp(tmp_path) == stamp(tmp_path)


def test_nested_metrics_get_dotted_names(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text(json.dumps({"vqa": 0.9, "of": {"open": 0.8}, "answers": [1]}))
    assert read_report(tmp_path) == [["vqa", "0.9"], ["of.open", "0.8"]]
