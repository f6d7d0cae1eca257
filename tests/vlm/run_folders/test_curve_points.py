"""Curves of any length in a bounded number of points, against all points sorted into buckets of the final width."""

import json
import time
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.run_folders.curve_points import MOST_BUCKETS, Curve, Point
from vlm.run_folders.run_curves import CurveFile


def curve_of(points: list[Point], most: int = MOST_BUCKETS) -> Curve:
    curve = Curve(most)
    for step, value in points:
        curve.add(step, value)
    return curve


def kept(points: list[Point], width: int) -> list[Point]:
    """The slow reference: the lowest and highest of each bucket, the first of equal ones, and both ends."""
    found = {points[0], points[-1]} if points else set()
    for place in {step // width for step, _ in points}:
        bucket = [point for point in points if point[0] // width == place]
        found |= {min(bucket, key=lambda point: point[1]), max(bucket, key=lambda point: point[1])}
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(0, 400), unique=True, min_size=1, max_size=120).map(sorted),
    values=st.lists(st.integers(-5, 5), min_size=120, max_size=120),
    most=st.integers(1, 12),
)
def test_kept_points_are_those_of_the_final_buckets(steps: list[int], values: list[int], most: int) -> None:
    points = [(step, float(value)) for step, value in zip(steps, values, strict=False)]
    curve = curve_of(points, most)
    assert curve.points() == kept(points, curve.width)
    assert len(curve.points()) <= 2 * most + 2
    buckets: dict[int, list[Point]] = {}
    for point in points:
        buckets.setdefault(point[0] // curve.width, []).append(point)
    expected = [
        (sum(step for step, _ in one) / len(one), sum(value for _, value in one) / len(one)) for one in buckets.values()
    ]
    np.testing.assert_allclose(curve.means(), expected)


def test_spikes_of_a_long_run_are_kept() -> None:
    points = [(step, 1.0) for step in range(100_000)]
    points[31_337], points[77_777] = (31_337, 9.0), (77_777, -3.0)
    curve = curve_of(points)
    assert {(31_337, 9.0), (77_777, -3.0), points[0], points[-1]} <= set(curve.points())
    assert len(curve.points()) <= 2 * MOST_BUCKETS + 2
    assert (curve.highest, curve.lowest) == ((31_337, 9.0), (77_777, -3.0))


def test_a_resumed_run_takes_back_the_steps_it_repeats() -> None:
    curve = curve_of([(step, float(step)) for step in range(10)])
    for step in range(6, 9):
        curve.add(step, 100.0 + step)
    assert curve.points() == [*((step, float(step)) for step in range(6)), (6, 106.0), (7, 107.0), (8, 108.0)]


def test_a_file_is_read_on_as_it_grows_and_anew_when_it_is_replaced(tmp_path: Path) -> None:
    def line(step: int, loss: float | str) -> str:
        return json.dumps({"kind": "train", "step": step, "loss": loss, "lr": 0.1}) + "\n"

    metrics = tmp_path / "metrics.jsonl"
    reader = CurveFile(tmp_path)
    reader.read(time.monotonic())
    metrics.write_text(line(1, 3.0) + line(2, "NaN") + line(3, 2.0) + line(4, 1.5)[:9])
    reader.read(time.monotonic())
    assert reader.run.curves["train_loss"].points() == [(1, 3.0), (3, 2.0)] and reader.share == 1.0
    with metrics.open("a") as file:
        file.write(line(4, 1.5)[9:])
    reader.read(time.monotonic())
    assert reader.run.curves["train_loss"].points() == [(1, 3.0), (3, 2.0), (4, 1.5)]
    metrics.write_text(line(1, 7.0))
    reader.read(time.monotonic())
    assert reader.run.curves["train_loss"].points() == [(1, 7.0)] and reader.generation == 1
