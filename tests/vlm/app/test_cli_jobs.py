"""How `eyegraft jobs` shows jobs."""

from typing import Any

import pytest

from demo.jobs.objects import job_object
from llm.errors import ConfigError
from vlm.app.cli_jobs import _sections, job_lines
from vlm.run_folders.progress import RunProgress
from vlm.service.store.rows import Job
from vlm.service.store.states import State


def job(name: str, state: State, progress: RunProgress, finish: int | None = None) -> dict[str, Any]:
    request = {"seed": 1, "x_eyegraft": {}}
    return dict(job_object(Job(name, 1, state, 0, request, "tiny", {}, progress=progress), finish))


def test_steps_and_the_time_left() -> None:
    waiting = job("ftjob-a", State.QUEUED, RunProgress())
    running = job("ftjob-b", State.RUNNING, RunProgress(6, 60, 1.25, 30.5, 2.0, 5.0))
    running["x_progress"]["seconds_left"] = 3725.4
    begun = job("ftjob-cc", State.PAUSED, RunProgress(steps=60))
    lines = job_lines([waiting, running, begun])
    assert [line.partition("  19")[0].rstrip() for line in lines] == [
        "job       state    step  left     model  submitted",
        "ftjob-a   queued                  tiny",
        "ftjob-b   running  6/60  1:02:05  tiny",
        "ftjob-cc  paused   0/60           tiny",
    ]


def test_before_the_first_step_the_time_left_is_a_lower_bound() -> None:
    lines = [job(f"ftjob-{name}", State.RUNNING, RunProgress(steps=30)) for name in "ab"]
    for line, seconds in zip(lines, (4.0, 1800.0), strict=True):
        line["x_progress"]["seconds_left"] = seconds
    shown = job_lines(lines)
    assert ">= 0:00:04" in shown[1] and ">= 0:30:00" in shown[2]


def test_the_progress_of_a_job() -> None:
    running = job("ftjob-b", State.RUNNING, RunProgress(6, 60, 1.25, 30.5, 2.0, 5.0), finish=1 << 40)
    assert running["estimated_finish"] == 1 << 40 and running["x_progress"].pop("seconds_left") > 1e9
    assert running["x_progress"] == {"step": 6, "steps": 60, "speed": 30.5, "loss": 1.25}
    paused = job("ftjob-b", State.PAUSED, RunProgress(6, 60, 1.25, 30.5, 2.0, 5.0))
    assert paused["estimated_finish"] is None and paused["x_progress"]["seconds_left"] is None


def test_keys_of_a_recipe_are_sections_and_the_list_of_trackers() -> None:
    found = _sections(["train.epochs=2", "track=[tensorboard, trackio]"])
    assert found == {"train": {"epochs": 2}, "track": ["tensorboard", "trackio"]}
    with pytest.raises(ConfigError, match="write section.key=value"):
        _sections(["epochs=2"])
