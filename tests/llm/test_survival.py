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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llm import checkpoint as checkpoints
from llm.checkpoint import Progress, list_checkpoints, newest_whole, read_weights, save, verify
from llm.config import TextRunConfig
from llm.errors import CheckpointError, RunError
from llm.lock import only_writer, refuse_second
from llm.metrics import read_rows
from vlm.run import train

WEIGHTS = {"a.weight": torch.arange(600, dtype=torch.bfloat16)}
STATE = {"engine": {"steps": 3, "moments": [torch.ones(200), torch.zeros(1)]}, "data": "abc"}


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> TextRunConfig:
    """Six steps over twelve conversations, saved at every second step."""
    write_rows(tmp_path / "chat.jsonl", 12)
    return TextRunConfig.model_validate(
        {
            "name": "tiny",
            "out": str(tmp_path / "run"),
            "model": {"llm": str(tiny_llama)},
            "data": {"sources": [{"path": str(tmp_path / "chat.jsonl")}], "max_length": 200, "template": "chatml"},
            "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
            "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "save_every": 2, "log_every": 1, "keep": 2},
        }
    )


def write_rows(file: Path, count: int) -> None:
    rows = [
        [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"fox {n}"}] for n in range(count)
    ]
    file.write_text("\n".join(json.dumps({"messages": messages}) for messages in rows))


def finished(config: TextRunConfig) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and final weights of a run that is trained to its end."""
    run = train(config, Path.cwd())
    weights = read_weights(list_checkpoints(run)[-1])  # mapped from the file, which a test may damage
    return [row["loss"] for row in read_rows(run, "train")], {name: value.clone() for name, value in weights.items()}


def unfinished(config: TextRunConfig) -> Path:
    """The run as it stood after step 4."""
    run = train(config, Path.cwd())
    shutil.rmtree(list_checkpoints(run)[-1])
    return run


def flip(file: Path, at: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


# Two writers ----------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(recipe: TextRunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with only_writer(run):
        began = time.perf_counter()
        with pytest.raises(RunError, match=f"is being trained by process {os.getpid()} on .* since .*UTC"):
            refuse_second(run)
        assert time.perf_counter() - began < 1
        with pytest.raises(RunError, match="is being trained by process"):
            train(recipe, Path.cwd())
        assert not (run / "config.yaml").exists(), "the second left the folder alone"
    refuse_second(run)
    train(recipe, Path.cwd())


def test_a_killed_writer_holds_nothing(tmp_path: Path) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom llm.lock import only_writer\n"
    code += f"with only_writer(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {process.pid} "):
        refuse_second(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    refuse_second(tmp_path)
    with only_writer(tmp_path):
        pass


# Damaged checkpoints --------------------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on_to_the_same_end(
    recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = finished(recipe)
    run = Path(recipe.out)
    flip(list_checkpoints(run)[-1] / "trainable.safetensors")
    found = finished(recipe)
    told = capsys.readouterr().out
    assert "trainable.safetensors: missing or changed" in told and "going on from step-000004" in told
    assert found[0] == expected[0]
    assert all(torch.equal(tensor, expected[1][name]) for name, tensor in found[1].items())
    assert (run / "checkpoints" / "damaged-step-000006").is_dir(), "nothing is thrown away"


def test_a_run_never_begins_anew_on_its_own(recipe: TextRunConfig) -> None:
    run = train(recipe, Path.cwd())
    before = (run / "metrics.jsonl").read_bytes()
    for folder in list_checkpoints(run):
        (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is whole") as refused:
        train(recipe, Path.cwd())
    assert "step-000004/state.json" in str(refused.value) and "step-000006/state.json" in str(refused.value)
    assert (run / "metrics.jsonl").read_bytes() == before


def _truncate(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data))])


def _flip_a_bit(file: Path, draw: random.Random) -> None:
    flip(file, draw.randrange(file.stat().st_size))


def _append(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes() + b"x" * draw.randrange(1, 9))


def _empty(file: Path, _: random.Random) -> None:
    file.write_bytes(b"")


def _delete(file: Path, _: random.Random) -> None:
    file.unlink()


@pytest.mark.parametrize("harm", [_truncate, _flip_a_bit, _append, _empty, _delete])
def test_every_kind_of_damage_to_every_file_is_seen(
    harm: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    """200 damaged checkpoints over the five kinds."""
    draw = random.Random(harm.__name__)
    whole = save(tmp_path / "whole", Progress(step=1), WEIGHTS, STATE, keep=2)
    names = sorted(file.name for file in whole.iterdir())
    for number in range(40):
        run = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", run)
        file = run / "checkpoints" / whole.name / names[number % len(names)]
        harm(file, draw)
        with pytest.raises(CheckpointError, match="changed|torn|missing"):
            newest_whole(run)


# A disk that refuses --------------------------------------------------------------------------------------------------


def test_a_full_disk_is_seen_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setattr(checkpoints, "save_file", lambda *_: pytest.fail("it began to write"))
    with pytest.raises(RunError, match="MiB are free"):
        save(tmp_path, Progress(step=2), WEIGHTS, STATE, keep=1)
    verify(first)


def test_no_room_at_any_write_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(tmp_path, Progress(step=1), WEIGHTS, STATE, keep=1)
    for fails_at in range(100):
        done = [0]

        def full(real: Callable[..., Any], done: list[int] = done, fails_at: int = fails_at) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                done[0] += 1
                if done[0] == fails_at + 1:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save_file", full(checkpoints.save_file))
            patch.setattr(checkpoints, "_write_json", full(checkpoints._write_json))
            patch.setattr(checkpoints, "_sync", full(checkpoints._sync))
            patch.setattr(Path, "rename", full(Path.rename))
            try:
                save(tmp_path, Progress(step=2), WEIGHTS, STATE, keep=1)
            except RunError as error:
                assert "No space left" in str(error)
                found = newest_whole(tmp_path)
                assert found is not None, f"write {fails_at} failed and took the checkpoint before with it"
                verify(first if first.exists() else found[0])
                continue
        break
    assert fails_at >= 8, "a save has more writes than that"
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000002"]


def test_a_file_size_limit_of_the_system_is_named_too(tmp_path: Path) -> None:
    """A real refusal by the kernel, inside safetensors: its own error type must not get through."""
    code = """
import resource, signal, sys, torch
from pathlib import Path
from llm.checkpoint import Progress, save
from llm.errors import RunError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save(Path(sys.argv[1]), Progress(step=1), {"w": torch.zeros(100000)}, {}, 1)
except RunError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written" in told.stdout


# Other data -----------------------------------------------------------------------------------------------------------


def test_changed_data_is_refused_unless_asked_for(recipe: TextRunConfig, tmp_path: Path) -> None:
    run = unfinished(recipe)
    before = (run / "metrics.jsonl").read_bytes()
    write_rows(tmp_path / "chat.jsonl", 16)
    with pytest.raises(CheckpointError, match="training data changed since the run began"):
        train(recipe, Path.cwd())
    assert (run / "metrics.jsonl").read_bytes() == before
    train(recipe, Path.cwd(), anyway=True)
    assert read_rows(run, "train")[-1]["step"] == 8, "the new plan's end"


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


def test_a_plan_that_became_shorter_than_what_is_done_says_so(
    recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unfinished(recipe)
    before = (run / "metrics.jsonl").read_bytes()
    shorter = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 3})})
    train(shorter, Path.cwd(), anyway=True)
    assert "is at step 4, the new plan ends at 3; nothing to do" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_bytes() == before
