"""The curves of some steps are those of a run that had only these, wherever it went back and wherever blocks end."""

import json
import random
import time
from pathlib import Path

import pytest

from vlm.run_folders import run_curves
from vlm.run_folders.curve_range import CurveRange
from vlm.run_folders.run_curves import CurveFile


def train(step: int, loss: float) -> str:
    return json.dumps({"kind": "train", "step": step, "loss": loss}) + "\n"


def history(random_: random.Random) -> list[tuple[int, float]]:
    """Steps as a run writes them that is resumed from earlier steps now and then."""
    step, found = 0, []
    for _ in range(random_.randrange(50, 400)):
        step = random_.randrange(1, step + 2) if random_.random() < 0.03 else step + 1
        found.append((step, random_.random()))
    return found


def left(lines: list[tuple[int, float]]) -> dict[int, float]:
    """What is there at the end: a step that is repeated takes back what came at it and after."""
    known: dict[int, float] = {}
    for step, loss in lines:
        known = {other: value for other, value in known.items() if other < step} | {step: loss}
    return known


def test_a_range_has_the_points_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_curves, "BLOCK", 700)
    for seed in range(40):
        random_, metrics = random.Random(seed), tmp_path / "metrics.jsonl"
        lines = history(random_)
        half = random_.randrange(len(lines))
        metrics.write_text("".join(train(*line) for line in lines[:half]))
        file = CurveFile(tmp_path)
        file.read(time.monotonic() + 9)
        top = max(step for step, _ in lines)
        first = random_.randrange(top)
        found = CurveRange(file, first, first + random_.randrange(1, top + 1))
        found.read(time.monotonic())  # a block
        with metrics.open("a") as stream:
            stream.writelines(train(*line) for line in lines[half:])
        while found.share < 1 or file.share < 1 or file.offset < metrics.stat().st_size:
            file.read(time.monotonic())
            found.read(time.monotonic())
        end = found._last
        expected = [(step, loss) for step, loss in left(lines).items() if first <= step <= end]
        assert found.run.curves["train_loss"].points() == sorted(expected), seed


def test_steps_before_and_after_the_range_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the buckets of a part are finer than those of all."""
    monkeypatch.setattr(run_curves, "BLOCK", 10_000)
    (tmp_path / "metrics.jsonl").write_text("".join(train(step, 1.0) for step in range(20_000)))
    file = CurveFile(tmp_path)
    file.read(time.monotonic() + 9)
    found = CurveRange(file, 9_000, 9_400)
    read: list[tuple[int, int]] = []
    original = CurveRange._read

    def noted(own: CurveRange, path: Path, start: int, end: int) -> None:
        read.append((start, end))
        original(own, path, start, end)

    monkeypatch.setattr(CurveRange, "_read", noted)
    found.read(time.monotonic() + 9)
    assert file.run.curves["train_loss"].width > 16 and found.run.curves["train_loss"].width == 1
    assert len(found.run.curves["train_loss"].points()) == 401 and len(read) <= 4 < len(file.blocks) / 10


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(train(step, 1.0) for step in range(100)))
    file = CurveFile(tmp_path)
    file.read(time.monotonic())
    found = CurveRange(file, 10, 12)
    found.read(time.monotonic())
    metrics.write_text("".join(train(step, 2.0) for step in range(50)))
    file.read(time.monotonic())
    found.read(time.monotonic())
    assert found.run.curves["train_loss"].points() == [(10, 2.0), (11, 2.0), (12, 2.0)]
