"""Runs that `eyegraft train` has started by itself, as the service sees them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llm.errors import ServiceError
from llm.train.run_folder import exclusive_writer
from vlm.run_folders.progress import RunProgress
from vlm.service import outside_runs
from vlm.service.outside_runs import OutsideRuns
from vlm.service.requests import UnknownJobError
from vlm.service.store.job_table import StateConflictError


@pytest.fixture(autouse=True)
def always_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside_runs, "FRESH_S", 0.0)


def write(folder: Path, *steps: int, began: float = 1000.0) -> None:
    """The metrics of a run of 10 steps of 2 s."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [{"kind": "plan", "step": 0, "steps": 10, "time": began}]
    figures = {"kind": "train", "loss": 1.5, "tokens_per_s": 30.0, "step_seconds": 2.0}
    lines += [{**figures, "step": step, "time": began + 2 * step} for step in steps]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    run = tmp_path / "runs/mine"
    runs = OutsideRuns([tmp_path / "runs"], tmp_path / "service")
    assert runs.all() == []
    with exclusive_writer(run):
        (found,) = runs.all()
        assert (found.name, found.state, found.progress) == ("runs/mine", "running", RunProgress())
        assert found.writer.startswith(f"process {os.getpid()} on ") and found.created_at > 1e9
        write(run, 1, 2)
        (found,) = runs.all()
        assert found.progress == RunProgress(2, 10, 1.5, 30.0, 2.0, 1004.0) and found.created_at == 1000
        assert found.id == runs.find(found.id).id
    assert runs.find(found.id).state == "stopped" and runs.find(found.id).writer == ""
    write(run, 1, 2, 3)
    (run / "report.json").write_text("{}")
    again = runs.find(found.id)
    assert (again.state, again.progress.step) == ("finished", 3)


def test_the_latest_comes_first_and_jobs_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, began=10.0)
    write(tmp_path / "deep/b", 1, began=30.0)
    write(tmp_path / "c", 1, began=20.0)
    write(tmp_path / "service/jobs/ftjob-1/run", 1)
    root, again = tmp_path, tmp_path / "deep"
    names = [run.name for run in OutsideRuns([root, again], tmp_path / "service").all()]
    assert names == [f"{root.name}/deep/b", f"{root.name}/c", f"{root.name}/a"], "one in two folders is one"


def test_a_run_that_went_back_and_one_that_is_deleted(tmp_path: Path) -> None:
    """A resumed run cuts off what its checkpoint does not have."""
    write(tmp_path / "a", *range(1, 8))
    runs = OutsideRuns([tmp_path], tmp_path / "service")
    (found,) = runs.all()
    assert found.progress.step == 7
    write(tmp_path / "a", 1, 2, 3, 4)
    assert runs.find(found.id).progress.step == 4
    (tmp_path / "a/metrics.jsonl").unlink()
    assert runs.all() == []
    with pytest.raises(UnknownJobError, match=found.id):
        runs.find(found.id)


def test_nothing_is_changed(tmp_path: Path) -> None:
    runs = OutsideRuns([tmp_path], tmp_path / "service")
    with exclusive_writer(tmp_path / "a"):
        name = runs.all()[0].id
        with pytest.raises(
            StateConflictError, match=rf"only watches it. It is run by process {os.getpid()} on .*SIGTERM"
        ):
            runs.refuse(name)
    with pytest.raises(StateConflictError, match="It is stopped"):
        runs.refuse(name)
    with pytest.raises(UnknownJobError):
        runs.refuse("xrun-none")


def test_metrics_as_events(tmp_path: Path) -> None:
    write(tmp_path / "a", 1, 2, 3)
    odd = {"kind": "train", "step": 4, "loss": float("nan"), "lr": 10**400, "note": "x", "time": "late"}
    with (tmp_path / "a/metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(odd) + "\n")
    runs = OutsideRuns([tmp_path], tmp_path / "service")
    (run,) = runs.all()
    newest, more = runs.newest_events(run, 2, None)
    assert [(event.message, event.created_at) for event in newest] == [("Step 4: ", 1000), ("Step 3: loss=1.5", 1006)]
    assert newest[0].data == {"kind": "train", "step": 4} and more and newest[0].job == run.id
    older, more = runs.newest_events(run, 9, newest[-1].sequence)
    assert [event.message for event in older] == ["Step 2: loss=1.5", "Step 1: loss=1.5", "Training on steps=10"]
    assert not more and runs.events_after(run, 0, 9) == [*reversed(older), *reversed(newest)]


def test_metrics_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a/metrics.jsonl").mkdir(parents=True)
    runs = OutsideRuns([tmp_path], tmp_path / "service")
    (run,) = runs.all()
    assert run.state == "stopped" and "cannot be read" in run.note
    with pytest.raises(ServiceError, match="cannot be read"):
        runs.newest_events(run, 9, None)
