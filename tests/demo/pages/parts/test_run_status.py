"""The status of runs from their folders, and their curves."""

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.pages.i18n import captions, state_text
from demo.pages.parts.curves import Curve, curves_html, curves_of, draw
from demo.pages.parts.run_status import find_runs, read_report, read_run, stamp, state_of


def test_the_status_of_a_run_from_its_folder(bananas: Path) -> None:
    assert find_runs(bananas / "runs") == (["banana"], {})
    view = read_run(bananas / "runs" / "banana")
    assert view.state.finished and view.state.step == view.state.total == 80
    drawn = draw(curves_of(view.lines)["loss"], log=True).axes[0].lines[0].get_xydata()
    lines = [line for line in view.lines if line["kind"] == "train"]
    assert len(lines) == 16 and np.array_equal(drawn, [(line["step"], line["loss"]) for line in lines])
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert ["steps", "80"] in view.report and "plan" in view.tail


def test_the_newest_run_is_the_one_whose_metrics_or_report_are_newest(tmp_path: Path) -> None:
    """Other files of a folder do not count: a copied or opened file makes no run newer."""
    for age, (run, name) in enumerate([("new", "metrics.jsonl"), ("eval", "eval.json"), ("old", "report.json")]):
        (tmp_path / run).mkdir()
        (tmp_path / run / name).write_text("{}")
        os.utime(tmp_path / run / name, (10_000 - age, 10_000 - age))
    (tmp_path / "old" / "loss.png").write_bytes(b"written now")
    assert find_runs(tmp_path)[0] == ["new", "eval", "old"]


def lines(*steps: tuple[int, float]) -> list[dict[str, Any]]:
    plan = [{"kind": "plan", "step": 0, "steps": 100, "time": 0.0}]
    train = {"kind": "train", "loss": 1.0, "step_seconds": 2.0}
    return plan + [{**train, "step": step, "time": when} for step, when in steps]


def test_the_remaining_time_of_a_run_and_its_silence(tmp_path: Path) -> None:
    """40 steps of 2 s are left, of which 7 s have gone by since the last line."""
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    written = (tmp_path / "metrics.jsonl").stat().st_mtime
    lately = lines(*((10 * number, written - 120 + 20 * number) for number in range(1, 7)))
    state = state_of(tmp_path, lately, written + 7)
    assert (state.step, state.total, state.finished, state.silent) == (60, 100, False, False)
    assert state.left_seconds == pytest.approx(73, abs=0.01)
    assert state.silent_seconds == pytest.approx(7, abs=0.1)
    assert state_of(tmp_path, lately, written + 1000).silent
    assert not state_of(tmp_path, lines((10, 0.0), (20, 500.0)), written + 1000).silent, "its lines are far apart"
    assert state_of(tmp_path, lines(), written).left_seconds is None


def test_one_step_is_a_dot_and_the_numbers_of_an_axis_do_not_overlap() -> None:
    dot = draw(Curve([1], [4.072]), log=True).axes[0]
    assert dot.lines[0].get_marker() == "o" and dot.get_yscale() == "linear"
    for values in ([4.072], [4.1, 2.4, 3.0], [3.0, 3.0], [4.1, 2.4, 0.3, 0.02], [12_000.0, 3.0, 1e-3]):
        figure = draw(Curve(range(1, len(values) + 1), values), log=True)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        texts = [text for text in axes.get_yticklabels(which="both") if text.get_text()]
        low, high = axes.get_ylim()
        boxes = sorted(
            (box.y0, box.y1)
            for text in texts
            if low <= text.get_position()[1] <= high and (box := text.get_window_extent())
        )
        assert len(boxes) >= 2 and all(above[0] > below[1] - 2 for below, above in pairwise(boxes)), values
        shown = [text.get_text() for text in texts]
        assert len(set(shown)) == len(shown), values


def test_curves_with_validation_and_of_a_new_run() -> None:
    train = {"kind": "train", "step": 1, "loss": 0.0, "lr": 1e-3, "tokens_per_s": 9.0, "memory_gib": 1.0}
    axes = draw(curves_of([train, {"kind": "validation", "step": 1, "loss": 2.0}])["loss"], log=True).axes[0]
    assert [len(line.get_xydata()) for line in axes.lines] == [1, 1] and axes.get_yscale() == "linear"
    assert curves_of([{"kind": "plan", "step": 0}]) == {} and curves_html([], captions("en")) == ""


@pytest.mark.parametrize("steps", [[1, 2], [1, 2, 3, 4], [7], [0, 1], [90_000, 90_001]])
def test_steps_on_the_axis_are_whole_numbers(steps: list[int]) -> None:
    figure = draw(Curve(steps, [1.0] * len(steps)), log=True)
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    shown = [int(label.replace(",", "").replace("\u2212", "-")) for label in labels]
    assert len(set(shown)) == len(shown) and set(steps) & set(shown), labels


def test_charts_have_names_and_no_text_that_needs_a_font_of_the_server() -> None:
    """Also in Chinese: titles are the page's own text."""
    train = [{"kind": "train", "step": step, "loss": 2.5 / step, "lr": 1e-3, "tokens_per_s": 24000.0, "memory_gib": 1.0}
             for step in (10, 20)]  # fmt: skip
    made = curves_html([*train, {"kind": "validation", "step": 20, "loss": 0.5}], captions("zh"))
    names = re.findall(r'role="img" aria-label="([^"]*)"', made)
    assert names[0] == "损失：第 10 步为 0.25，第 20 步为 0.125" and len(names) == 4
    assert re.findall(r"<figcaption>([^<]*)", made) == ["损失", "学习率", "每秒 token 数", "内存（GiB）"]
    drawn = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", made))
    assert drawn and not re.search(r"[^0-9.,e\u2212+-]", drawn), drawn
    assert "<style" not in made and made.count("验证") == 1


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
