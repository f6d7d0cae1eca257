"""`eyegraft train --nproc 2` as a command: stopped, killed in one process and in all, and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm.files.saved_checkpoints import list_checkpoints
from llm.train.metrics import read_metrics
from tests.parallel.watching import alive, started, until_step, workers_of
from vlm.app.cli import main
from vlm.config import TextRunConfig
from vlm.model.runs import train

STEPS = 240


@pytest.fixture(scope="module")
def recipe(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short steps with a checkpoint every tenth."""
    folder = tmp_path_factory.mktemp("launch")
    talks = [
        [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"{'fox ' * (n % 9)}{n}"}]
        for n in range(40)
    ]
    (folder / "chat.jsonl").write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))
    text = {
        "name": "tiny",
        "out": str(folder / "run"),
        "model": {"llm": str(tiny_llama)},
        "data": {"sources": [{"path": str(folder / "chat.jsonl")}], "max_length": 200, "template": "chatml"},
        "tune": {"kind": "lora", "rank": 4, "alpha": 8},
        "train": {"epochs": 200, "max_steps": STEPS, "batch": 4, "dtype": "fp32", "save_every": 10, "log_every": 1},
    }
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(text))  # JSON is YAML
    return file


def done(run: Path) -> int:
    """The step of the newest checkpoint."""
    found = list_checkpoints(run)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def test_a_run_of_two_processes_resumes_after_signals_and_kills(recipe: Path) -> None:
    run = recipe.with_name("run")
    with started(recipe) as process:  # stopped: both finish the step, one checkpoint and one message
        until_step(run, 0)
        process.terminate()
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 143
    assert errors.count("stopped by SIGTERM after step") == 1, errors
    stopped = done(run)
    assert stopped == read_metrics(run, "train")[-1]["step"], "the last step is saved"

    with started(recipe) as process:  # one is killed: the other ends too
        until_step(run, stopped + 10)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        began = time.monotonic()
        output, errors = process.communicate(timeout=240)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert f"going on after step {stopped}" in output
    assert "process 1 of 2 was killed by SIGKILL" in errors
    assert not any(map(alive, workers))

    seen = read_metrics(run, "train")[-1]["step"]  # the killed run wrote more than it saved
    with started(recipe) as process:  # the command is killed: no process is left
        until_step(run, seen)
        workers = workers_of(process.pid)
        for worker in workers:  # held where they are: a second one may take longer to start than they to end
            os.kill(worker, signal.SIGSTOP)
        with started(recipe) as second:  # a second run in the same folder is refused
            _, errors = second.communicate(timeout=240)
            assert second.returncode == 1
            assert "is being trained by process" in errors
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        process.kill()
        process.wait()
        for _ in range(100):
            if not any(map(alive, workers)):
                break
            time.sleep(0.1)
        assert not any(map(alive, workers))

    with started(recipe) as process:
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert [row["step"] for row in read_metrics(run, "train")] == list(range(1, STEPS + 1)), "every step once"

    config = TextRunConfig.model_validate(json.loads(recipe.read_text()) | {"out": str(run.with_name("alone"))})
    alone = read_metrics(train(config, Path.cwd()), "train")
    together = read_metrics(run, "train")
    worst = max(abs(one["loss"] - two["loss"]) / one["loss"] for one, two in zip(alone, together, strict=True))
    assert worst < 1e-4, "more than rounding over all steps"


def test_an_error_of_all_processes_is_reported_once(
    recipe: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = recipe.with_name("other")
    monkeypatch.setattr(
        sys,
        "argv",
        ["eyegraft", "train", str(recipe), f"out={out}", "data.system=x", "model.llm=/nowhere", "--nproc=2"],
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capfd.readouterr().err.count("error: /nowhere: no such folder") == 1


def test_processes_that_ignore_a_signal_are_killed_by_a_second_one(tmp_path: Path) -> None:
    """Signal handlers do not run in a process that hangs in a collective."""
    deaf = "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += "pathlib.Path(sys.argv[1], str(time.time_ns())).touch(); time.sleep(300)"
    code = "import sys; from vlm.app.launch import launch; launch([sys.executable, '-c', *sys.argv[1:]], 2)"
    process = subprocess.Popen([sys.executable, "-c", code, deaf, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        while len(list(tmp_path.iterdir())) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        time.sleep(0.5)
        assert process.poll() is None and all(map(alive, workers_of(process.pid)))
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert "was killed by SIGKILL" in errors
    finally:
        process.kill()
        process.communicate()
