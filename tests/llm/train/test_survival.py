"""What happens to a run when something happens to it: a second writer, damaged files, a full disk, other data."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from llm.config.schema import TextRunConfig
from llm.errors import CheckpointError, RunError
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints
from llm.train import checkpoint as checkpoints
from llm.train import checkpoint_state
from llm.train.checkpoint import newest_intact, save
from llm.train.checkpoint_state import Progress, verify
from llm.train.metrics import read_metrics
from llm.train.run_folder import exclusive_writer, refuse_running
from tests.llm.text_runs import finished, flip, six_steps, unfinished, write_rows
from tests.soak.damage import HARMS, damage, prints
from vlm.model.runs import train

WEIGHTS = {"a.weight": torch.arange(600, dtype=torch.bfloat16)}
STATE = {"engine": {"steps": 3, "moments": [torch.ones(200), torch.zeros(1)]}, "data": "abc"}


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> TextRunConfig:
    return six_steps(tiny_llama, tmp_path)


# Two writers ----------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(recipe: TextRunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with exclusive_writer(run):
        began = time.perf_counter()
        with pytest.raises(RunError, match=f"is being trained by process {os.getpid()} on .* since .*UTC"):
            refuse_running(run)
        assert time.perf_counter() - began < 1
        with pytest.raises(RunError, match="is being trained by process"):
            train(recipe, Path.cwd())
        assert not (run / "config.yaml").exists(), "the second left the folder alone"
    refuse_running(run)
    train(recipe, Path.cwd())


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom llm.train.run_folder import exclusive_writer\n"
    code += f"with exclusive_writer(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {process.pid} "):
        refuse_running(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    refuse_running(tmp_path)
    with exclusive_writer(tmp_path):
        pass


# Damaged checkpoints --------------------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on_to_the_same_end(
    recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = finished(recipe)
    run = Path(recipe.out)
    flip(list_checkpoints(run)[-1] / "trainable.safetensors")
    found = finished(recipe)
    output = capsys.readouterr().err
    assert "trainable.safetensors: missing or changed" in output and "going on from step-000004" in output
    assert found[0] == expected[0]
    assert all(torch.equal(tensor, expected[1][name]) for name, tensor in found[1].items())
    assert (run / "checkpoints" / "damaged-step-000006").is_dir(), "nothing is thrown away"


def test_a_run_never_begins_anew_on_its_own(recipe: TextRunConfig) -> None:
    run = train(recipe, Path.cwd())
    before = (run / "metrics.jsonl").read_bytes()
    for folder in list_checkpoints(run):
        (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is intact") as refused:
        train(recipe, Path.cwd())
    assert "step-000004/state.json" in str(refused.value) and "step-000006/state.json" in str(refused.value)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_200_damaged_checkpoints_are_all_detected_and_left_as_they_are(tmp_path: Path) -> None:
    """Ten kinds of damage at random places of random files; both checkpoints of a run have some."""
    intact, damages = tmp_path / "intact", set[str]()
    for step in (1, 2):
        save(intact, Progress(step=step), WEIGHTS, {**STATE, "step": step}, keep=2)
    for number in range(100):
        draw, run = random.Random(number), tmp_path / str(number)
        shutil.copytree(intact, run)
        damages |= {damage(checkpoint, draw) for checkpoint in list_checkpoints(run)}
        before = prints(run)
        with pytest.raises(CheckpointError, match="no checkpoint is intact") as refused:
            newest_intact(run)
        assert "step-000001" in str(refused.value) and "step-000002" in str(refused.value)
        assert prints(run) == before
    assert {line.split(": ")[0] for line in damages} >= {"manifest.json", "progress.json", "state.json"}
    assert {line.split(": ")[1] for line in damages} == set(HARMS), "every kind of damage was done"


def test_a_renamed_checkpoint_and_a_file_too_many_are_damage(tmp_path: Path) -> None:
    first = save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=2)
    (first / "state-999.safetensors").write_bytes((first / "state-000.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="state-999.safetensors: is no part of the checkpoint"):
        verify(first)
    (first / "state-999.safetensors").unlink()
    first.rename(first.with_name("step-000007"))
    with pytest.raises(CheckpointError, match="holds step 1; the folder was renamed"):
        newest_intact(tmp_path)


def test_a_disk_that_fills_up_between_checkpoints_is_named(
    recipe: TextRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the lock, at a row of metrics, in the cache: no traceback, and the folder's name."""
    with monkeypatch.context() as patch:
        patch.setattr("llm.train.run_folder.os.write", _no_room)
        with pytest.raises(RunError, match="run: the run folder cannot be written: .*No space left"):
            train(recipe, Path.cwd())
    for where in ("llm.train.metrics.RunLog.write", "llm.data.corpus._write"):
        with monkeypatch.context() as patch:
            patch.setattr(where, _no_room)
            with pytest.raises(
                RunError, match="run: the disk refused: .*No space left.* go on from the last checkpoint"
            ):
                train(recipe, Path.cwd())
        shutil.rmtree(recipe.out)


# What stays, and what `latest` is worth -------------------------------------------------------------------------------


def test_pruning_never_counts_a_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps 2 and 3 turn bad: 1 is not deleted before two intact ones follow it."""
    for step in (1, 2):
        save(tmp_path, Progress(step=step), WEIGHTS, STATE, keep=1)
    flip(tmp_path / "checkpoints/step-000002/trainable.safetensors")
    save(tmp_path, Progress(step=3), WEIGHTS, STATE, keep=1)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000001", "step-000002", "step-000003"]
    assert "it does not count towards train.keep" in capsys.readouterr().err
    flip(tmp_path / "checkpoints/step-000003/trainable.safetensors")
    found = newest_intact(tmp_path)
    assert found is not None and found[0].name == "step-000001"
    for step in (4, 5):
        save(tmp_path, Progress(step=step), WEIGHTS, STATE, keep=1)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000004", "step-000005"], "two stay"


def test_latest_is_moved_last_and_never_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latest = tmp_path / "checkpoints" / "latest"
    save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=2)
    assert latest.read_text() == "step-000001\n"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_name", _no_room)
        with pytest.raises(RunError, match="No space left"):
            save(tmp_path, Progress(step=2), WEIGHTS, STATE, keep=2)
    assert latest.read_text() == "step-000001\n", "killed between the rename and the marker"
    assert find_checkpoint(tmp_path).name == "step-000002", "readers take the newest folder"
    found = newest_intact(tmp_path)
    assert found is not None and found[0].name == "step-000002" and latest.read_text() == "step-000002\n"
    flip(found[0] / "state.json")
    found = newest_intact(tmp_path)
    assert found is not None and found[0].name == "step-000001" and latest.read_text() == "step-000001\n"


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_lost_checkpoints_are_no_fresh_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=2)
    shutil.move(first, tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="none of the checkpoints, though latest names 'step-000001'"):
        newest_intact(tmp_path)
    (first.parent / "latest").unlink()
    shutil.move(tmp_path / "elsewhere", first.with_name("damaged-step-000001"))
    with pytest.raises(CheckpointError, match="only damaged-step-000001"):
        newest_intact(tmp_path)
    shutil.rmtree(first.parent)
    (first.parent / ".step-000001.partial").mkdir(parents=True)
    assert newest_intact(tmp_path) is None
    assert "was stopped before its first checkpoint was complete; beginning at step 1" in capsys.readouterr().err


def test_a_run_that_died_before_its_report_makes_it_up(recipe: TextRunConfig) -> None:
    run = train(recipe, Path.cwd())
    before = json.loads((run / "report.json").read_text())
    (run / "report.json").unlink()
    weights = prints(run / "checkpoints")
    train(recipe, Path.cwd())
    after = json.loads((run / "report.json").read_text())
    assert {**after, "seconds": 0, "peak_memory_gib": 0} == {**before, "seconds": 0, "peak_memory_gib": 0}
    assert prints(run / "checkpoints") == weights, "nothing was trained"


def test_lost_rows_are_told_and_not_filled_with_zeros(
    recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unfinished(recipe)
    rows = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(rows[: len(rows) // 3])
    train(recipe, Path.cwd())
    assert "older metrics are lost" in capsys.readouterr().err
    assert b"\0" not in (run / "metrics.jsonl").read_bytes()
    assert [row["step"] for row in read_metrics(run, "train")][-2:] == [5, 6]


# A disk that refuses --------------------------------------------------------------------------------------------------


def test_a_full_disk_is_seen_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoint_state.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setattr(checkpoint_state, "save_file", lambda *_: pytest.fail("it began to write"))
    with pytest.raises(RunError, match="MiB are free"):
        save(tmp_path, Progress(step=2), WEIGHTS, STATE, keep=1)
    verify(first)


def test_no_room_at_any_write_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The k-th write of a save fails half done, for every k until a save passes."""
    intact = tmp_path / "intact"
    save(intact, Progress(step=1), WEIGHTS, STATE, keep=2)
    for fails_at in range(1, 100):
        run = tmp_path / str(fails_at)
        shutil.copytree(intact, run)
        with monkeypatch.context() as patch:
            calls = _fail(patch, fails_at)
            try:
                save(run, Progress(step=2), WEIGHTS, STATE, keep=2)
            except RunError as error:
                assert "step-000002: the checkpoint could not be written" in str(error) and "No space" in str(error)
            else:
                break
        found = list_checkpoints(run)
        assert found[0].name == "step-000001"
        for folder in found:  # the second, when only `latest` could not be moved
            verify(folder)
        assert not list((run / "checkpoints").glob(".step-*")), (
            f"{calls[-1]} failed; what it had written still lies there"
        )
        assert save(run, Progress(step=2), WEIGHTS, STATE, keep=2) == list_checkpoints(run)[-1]
    assert {"mkdir", "save_file", "write_text", "sync", "rename", "replace"} <= set(calls)
    assert fails_at >= 18, f"a save has more writes than these: {calls}"


def _fail(patch: pytest.MonkeyPatch, fails_at: int) -> list[str]:
    """Let the call numbered `fails_at` of all that write fail; what a file got until then stays in it."""
    calls: list[str] = []

    def failing(holder: Any, name: str) -> None:
        real = getattr(holder, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) != fails_at:
                return real(*args, **kwargs)
            if name in ("save_file", "write_text"):
                real(*args, **kwargs)
                file = Path(args[1] if name == "save_file" else args[0])
                os.truncate(file, file.stat().st_size // 2)
            raise SafetensorError("No space left") if name == "save_file" else OSError(errno.ENOSPC, "No space left")

        patch.setattr(holder, name, call)

    for holder, name in ((checkpoint_state, "save_file"), (checkpoint_state, "sync"), (checkpoints, "sync")):
        failing(holder, name)
    for name in ("mkdir", "rename", "replace", "write_text"):
        failing(Path, name)
    return calls


def test_a_file_size_limit_of_the_system_is_named_too(tmp_path: Path) -> None:
    """A real refusal by the kernel, inside safetensors: its own error type must not get through."""
    code = """
import resource, signal, sys, torch
from pathlib import Path
from llm.train.checkpoint import save
from llm.train.checkpoint_state import Progress
from llm.errors import RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save(Path(sys.argv[1]), Progress(step=1), {"w": torch.zeros(100000)}, {}, 1)
except RunError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout


# Other data -----------------------------------------------------------------------------------------------------------


def test_changed_data_is_refused_unless_asked_for(recipe: TextRunConfig, tmp_path: Path) -> None:
    run = unfinished(recipe)
    before = (run / "metrics.jsonl").read_bytes()
    write_rows(tmp_path / "chat.jsonl", 16)
    with pytest.raises(CheckpointError, match="training data changed since the run began .*, or another version"):
        train(recipe, Path.cwd())
    assert (run / "metrics.jsonl").read_bytes() == before
    train(recipe, Path.cwd(), anyway=True)
    assert read_metrics(run, "train")[-1]["step"] == 8, "the new plan's end"


def test_data_that_only_moved_is_the_same_data(recipe: TextRunConfig, tmp_path: Path) -> None:
    expected = finished(recipe)
    shutil.rmtree(list_checkpoints(Path(recipe.out))[-1])
    os.utime(tmp_path / "chat.jsonl", (1, 1))
    assert finished(recipe)[0] == expected[0]


def test_a_changed_recipe_goes_on_when_asked(recipe: TextRunConfig) -> None:
    run = unfinished(recipe)
    changed = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"lr": 1e-5})})
    with pytest.raises(RunError, match="--anyway"):
        train(changed, Path.cwd())
    train(changed, Path.cwd(), anyway=True)
    assert "lr: 1.0e-05" in (run / "config.yaml").read_text()
    assert len(read_metrics(run, "plan")) == 1, "it has as many steps as before"


def test_a_changed_length_is_a_new_plan(recipe: TextRunConfig) -> None:
    """Who watches the run counts the steps that are left by it."""
    run = unfinished(recipe)
    longer = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 7, "epochs": 99.0})})
    train(longer, Path.cwd(), anyway=True)
    (before, _), (after, steps) = ((line["step"], line["steps"]) for line in read_metrics(run, "plan"))
    assert (before, after, steps) == (0, 4, 7) and read_metrics(run, "train")[-1]["step"] == 7


def test_a_plan_that_became_shorter_than_what_is_done_says_so(
    recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unfinished(recipe)
    before = (run / "metrics.jsonl").read_bytes()
    shorter = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 3})})
    train(shorter, Path.cwd(), anyway=True)
    assert "is at step 4, the new plan ends at 3; nothing to do" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_bytes() == before
