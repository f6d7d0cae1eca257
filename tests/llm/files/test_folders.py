"""Ownership of folders: runs write into new folders and their own, follow no links, and report disk errors."""

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm.config.schema import TextRunConfig
from llm.errors import CheckpointError, RunError
from llm.files.atomic_files import atomic_file, write_atomically
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints
from llm.model.hf_export import export_llm
from llm.train.checkpoint import save
from llm.train.checkpoint_state import Progress, read_state, read_weights
from llm.train.metrics import RunLog, read_metrics
from llm.train.run_folder import exclusive_writer, refuse_running, refuse_taken
from tests.llm.text_runs import six_steps, unfinished
from vlm.model.runs import train

MARK = "eyegraft.json"
WEIGHTS = {"a.weight": torch.ones(8)}


@pytest.fixture
def recipe(tiny_llama: Path, tmp_path: Path) -> TextRunConfig:
    return six_steps(tiny_llama, tmp_path)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user that must not change."""
    file = tmp_path / "thesis.tex"
    file.write_text("years")
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Whose ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "report.json", "environment.json", "writer.lock"])
@pytest.mark.parametrize("anyway", [False, True], ids=["", "anyway"])
def test_the_folder_of_another_project_is_not_written(
    name: str, anyway: bool, recipe: TextRunConfig, tmp_path: Path
) -> None:
    theirs = tmp_path / "run"
    theirs.mkdir()
    (theirs / name).write_text('{"learning_rate": 3}\n')
    (theirs / "main.py").write_text("print()")
    before = contents(theirs)
    with pytest.raises(RunError, match=f"run: holds {name}, which no run of ours wrote.* Choose another `out`"):
        train(recipe, Path.cwd(), anyway)
    assert contents(theirs) == before


def test_checkpoints_of_another_project_are_not_written(recipe: TextRunConfig, tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints/step-000100").mkdir(parents=True)
    with pytest.raises(RunError, match="run: holds checkpoints/step-000100"):
        train(recipe, Path.cwd())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoints"]


def test_a_folder_with_other_files_may_hold_a_run(recipe: TextRunConfig, tmp_path: Path) -> None:
    """What a shell redirects there before training begins."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/log.txt").write_text("mine")
    run = train(recipe, Path.cwd())
    assert (run / "log.txt").read_text() == "mine"
    assert json.loads((run / MARK).read_text())["kinds"] == ["run"]


def test_a_run_without_a_mark_resumes(recipe: TextRunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run = unfinished(recipe)
    (run / MARK).unlink()
    train(recipe, Path.cwd())
    assert "going on after step 4" in capsys.readouterr().out
    assert json.loads((run / MARK).read_text())["kinds"] == ["run"]
    shutil.rmtree(run / "checkpoints")
    for name in ("writer.lock", MARK):
        (run / name).unlink()
    with pytest.raises(RunError, match="run: holds config.yaml, environment.json, metrics.jsonl"):
        refuse_taken(run)


def test_a_run_killed_at_its_lock_starts_again(recipe: TextRunConfig, tmp_path: Path) -> None:
    with exclusive_writer(tmp_path / "run"):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["writer.lock"]
    assert train(recipe, Path.cwd()) == tmp_path / "run"


def test_a_mark_of_another_program_is_ignored(recipe: TextRunConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for content in ("{}", "[]", "no json", '{"made by": "eyegraft", "format": 99}'):
        (tmp_path / "run" / MARK).write_text(content)
        with pytest.raises(RunError, match=f"run: holds {MARK}, which no run of ours wrote"):
            train(recipe, Path.cwd())
        assert (tmp_path / "run" / MARK).read_text() == content


# Links ----------------------------------------------------------------------------------------------------------------


def test_a_link_in_a_run_folder_is_not_written_through(recipe: TextRunConfig, tmp_path: Path, victim: Path) -> None:
    run = unfinished(recipe)
    for name in ("writer.lock", "metrics.jsonl", "report.json", "config.yaml", "environment.json", "loss.png", MARK):
        kept = (run / name).rename(tmp_path / "kept")
        (run / name).symlink_to(victim)
        with pytest.raises(RunError, match=f"run/{name}: is a link, not a regular file"):
            train(recipe, Path.cwd())
        kept.rename(run / name)
    assert victim.read_text() == "years"


def test_a_linked_folder_in_a_run_folder(recipe: TextRunConfig, tmp_path: Path) -> None:
    run = unfinished(recipe)
    (run / "samples").mkdir()
    for name in ("checkpoints", "samples", "cache"):
        (run / name).rename(tmp_path / "elsewhere")
        before = contents(tmp_path / "elsewhere")
        (run / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(RunError, match=f"run/{name}: is a link, not a folder of this user"):
            train(recipe, Path.cwd())
        assert contents(tmp_path / "elsewhere") == before
        (run / name).unlink()
        (tmp_path / "elsewhere").rename(run / name)


def test_the_run_folder_itself_may_be_a_link(recipe: TextRunConfig, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    train(recipe, Path.cwd())
    assert list_checkpoints(tmp_path / "disk") and (tmp_path / "run").is_symlink()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("writer.lock", lambda folder: exclusive_writer(folder).__enter__()),
        ("writer.lock", lambda folder: refuse_running(folder)),
        ("metrics.jsonl", lambda folder: RunLog(folder, 1, 0, 0)),
        ("checkpoints", lambda folder: save(folder, Progress(1), WEIGHTS, {}, 2)),
    ],
    ids=["lock", "look", "metrics", "checkpoints"],
)
@pytest.mark.parametrize("kind", ["link", "pipe", "another's"])
def test_every_writer_checks_for_links(
    kind: str, name: str, write: Callable[[Path], object], tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is created after the run has claimed its folder."""
    place = tmp_path / name
    told = {"link": "is a link", "pipe": "is a named pipe", "another's": "belongs to user"}[kind]
    if kind == "link":
        place.symlink_to(victim.parent if name == "checkpoints" else victim)
    elif kind == "pipe":
        os.mkfifo(place)
        if name == "checkpoints":
            told = "/step-000001: the checkpoint could not be written: .*File exists"
    else:
        place.mkdir() if name == "checkpoints" else place.write_text("")
        monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    with pytest.raises(RunError, match=f"{name}(: )?{told}"):
        write(tmp_path)
    assert victim.read_text() == "years"


def test_small_files_replace_links(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "report.json").symlink_to(victim)
    write_atomically(tmp_path / "report.json", "{}")
    assert victim.read_text() == "years" and not (tmp_path / "report.json").is_symlink()
    with atomic_file(tmp_path / "report.json") as partial:
        (tmp_path / f".report.json.{os.getpid()}.partial").symlink_to(victim)  # what it was called before
        partial.write_text("[]")
    assert victim.read_text() == "years" and (tmp_path / "report.json").read_text() == "[]"


def test_metrics_continue_at_the_position_of_the_checkpoint(tmp_path: Path) -> None:
    with RunLog(tmp_path, 2, 0, 0) as log:
        log.write({"kind": "train", "step": 1, "loss": 1.0})
        at = log.position()
        log.write({"kind": "train", "step": 2, "loss": 2.0})
    with RunLog(tmp_path, 2, 1, at) as log:
        log.write({"kind": "train", "step": 2, "loss": 3.0})
        assert log.position() == (tmp_path / "metrics.jsonl").stat().st_size > at
    assert [row["loss"] for row in read_metrics(tmp_path)] == [1.0, 3.0]


# Disks ----------------------------------------------------------------------------------------------------------------


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """Inside, writes beyond the first `size` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("what", ["weights", "tokenizer"])
def test_an_export_onto_a_full_disk(what: str, tiny_llama: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    size = 4000
    if what == "tokenizer":  # the library that writes it raises a plain Exception
        tokenizer.add_tokens([f"word-{number:060}" for number in range(5000)])
        size = (tiny_llama / "model.safetensors").stat().st_size + 10_000
    with no_file_over(size), pytest.raises(RunError, match=r"out: the model could not be written: .*os error 27"):
        export_llm(model, tokenizer, "{{ messages }}", tmp_path / "out", torch.float32)
    assert not list(tmp_path.iterdir()), "what was written is gone again"


def test_a_run_that_is_deleted_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "run", Progress(step=1), WEIGHTS, {"a": torch.ones(1)}, 2)
    (tmp_path / "run/metrics.jsonl").write_text('{"kind": "plan"}\n')
    checkpoint = find_checkpoint(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with monkeypatch.context() as moment_ago:
        moment_ago.setattr(Path, "exists", lambda path: True)
        assert read_metrics(tmp_path / "run") == []
    for read in (read_weights, read_state):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read(checkpoint)
