"""What trackers stored of a run that was killed and resumed, read back: every step once, answers, images, one run."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from llm.track.trackers import TRACKERS
from tests.trackers.run_folder import ANSWERS, CURVES, killed_and_resumed, make_run
from tests.trackers.stored import READERS, settings_of

STATES = {"wandb": "0", "swanlab": "1", "mlflow": "FINISHED"}  # of a finished run; the others know none
LR = {"mlflow": "recipe.optim.lr:0.001"}


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_killed_and_resumed_run_is_one_curve(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec(TRACKERS[name].package) is None:
        pytest.skip(f"{name} is not in this environment; `make trackers` has them all")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    monkeypatch.setattr("llm.track.feed.WAIT_S", 120.0)
    for variable in ("MLFLOW_TRACKING_URI", "TRACKIO_DIR", "WANDB_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    run = make_run(tmp_path)
    killed_and_resumed(run, [name])
    log = (run / "track" / f"{name}.log").read_text()
    stored = READERS[name](run / "track")
    assert {curve: stored.curves.get(curve) for curve in CURVES} == CURVES, log
    found = {step: [ANSWERS[step] in first, "a fox" in second] for step, (first, second) in stored.answers.items()}
    assert found == {step: [True, True] for step in ANSWERS}, log
    assert stored.images == dict.fromkeys(ANSWERS, (40, 30)), log
    assert len(stored.runs) == 1, stored.runs
    assert LR.get(name, "lr:0.001") in settings_of(stored) and "records:24" in settings_of(stored)
    assert stored.state == STATES.get(name, "")
