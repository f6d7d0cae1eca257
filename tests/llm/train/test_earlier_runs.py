"""Runs that start from each other and pipelines that are steps of themselves: an error that names the loop."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llm.errors import ConfigError
from llm.train.earlier_runs import earlier_runs
from vlm.app.launch import TrainCommand
from vlm.app.pipeline import run_pipeline
from vlm.config import PipelineConfig, load_config, load_steps
from vlm.model.run_recipe import read_run_config
from vlm.plan.plan import chain


def in_time(work: Callable[[], object], seconds: float = 5) -> str:
    """The message of the ConfigError; fails after `seconds`. In a daemon thread, which ends with the process."""
    messages: list[str] = []

    def run() -> None:
        try:
            work()
        except ConfigError as error:
            messages.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "no end"
    assert messages, "no error"
    return messages[0]


def run_folder(folder: Path, start: Path | None) -> Path:
    """A run folder whose recipe names the run it starts from."""
    folder.mkdir()
    begun = f"from: {start}\n" if start else ""
    (folder / "config.yaml").write_text(
        f"name: {folder.name}\n{begun}model: {{llm: some/model}}\ndata: {{sources: [{{path: a.jsonl}}]}}\n"
    )
    return folder


@pytest.mark.parametrize("length", [1, 2, 5])
def test_runs_that_start_from_each_other(length: int, tmp_path: Path) -> None:
    names = [tmp_path / f"run-{number}" for number in range(length)]
    for number, folder in enumerate(names):
        run_folder(folder, names[(number + 1) % length])
    config = read_run_config(names[0])
    for message in (in_time(lambda: earlier_runs(config, read_run_config)), in_time(lambda: chain(config, {}))):
        assert "start from each other" in message
        assert all(str(folder) in message for folder in names)


def test_a_chain_with_an_end_is_read_oldest_first(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "first", None)
    second = run_folder(tmp_path / "second", first)
    third = run_folder(tmp_path / "third", second)
    config = read_run_config(third)
    assert [folder for _, folder in earlier_runs(config, read_run_config)] == [first, second]
    assert [run.name for run, _ in chain(config, {})[0]] == ["first", "second"]
    (first / "config.yaml").unlink()
    known, note = chain(config, {})
    assert [run.name for run, _ in known] == ["second"] and note.startswith(f"{first} does not exist")


@pytest.mark.parametrize("length", [1, 3])
def test_pipelines_that_are_steps_of_themselves(length: int, tmp_path: Path) -> None:
    names = [f"pipeline-{number}.yaml" for number in range(length)]
    for number, name in enumerate(names):
        step = names[(number + 1) % length]
        (tmp_path / name).write_text(f"name: p{number}\nout: {tmp_path / 'out'}\nsteps: [{step}]\n")
    file = tmp_path / names[0]
    config = load_config(file)
    assert isinstance(config, PipelineConfig)
    for message in (
        in_time(lambda: load_steps(config, file)),
        in_time(lambda: run_pipeline(config, TrainCommand(file))),
    ):
        assert "the pipeline contains itself" in message and all(name in message for name in names)


def test_a_pipeline_in_a_pipeline_is_read(tmp_path: Path) -> None:
    run_folder(tmp_path / "run", None).joinpath("config.yaml").rename(tmp_path / "run.yaml")
    for outer, inner in (("outer", "inner"), ("inner", "run")):
        (tmp_path / f"{outer}.yaml").write_text(f"name: {outer}\nsteps: [{inner}.yaml, run.yaml]\n")
    config = load_config(tmp_path / "outer.yaml")
    assert isinstance(config, PipelineConfig)
    assert [path.name for path, _ in load_steps(config, tmp_path / "outer.yaml")] == ["inner.yaml", "run.yaml"]
