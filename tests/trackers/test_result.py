"""The committed result of `make trackers`: all five were fed and read back."""

import json
from pathlib import Path

from llm.track.trackers import TRACKERS

RESULT = Path(__file__).resolve().parents[2] / "benchmarks/results/trackers.json"


def test_every_tracker_was_read_back() -> None:
    found = json.loads(RESULT.read_text())
    tests = {f"test_a_killed_and_resumed_run_is_one_curve[{name}]" for name in TRACKERS}
    assert set(found["versions"]) == set(TRACKERS) and tests <= set(found["tests"])
    assert set(found["tests"].values()) == {"passed"}, "run: make trackers"
