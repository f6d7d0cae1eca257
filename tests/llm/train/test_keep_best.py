"""`train.keep_best` and `train.patience`: what is kept, when a run ends, and the same after an interruption."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llm.config.schema import TextRunConfig
from llm.errors import CheckpointError
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints
from llm.train.checkpoint_state import Progress, read_progress
from llm.train.metrics import read_metrics
from tests.llm.text_runs import six_steps
from vlm.model.runs import train

TIMES = ("time", "tokens_per_s", "input_wait", "step_seconds", "memory_gib")


def recipe(tiny_llama: Path, folder: Path, **changes: object) -> TextRunConfig:
    """Twenty steps at a rate at which the validation loss soon grows, measured after every second one."""
    values = six_steps(tiny_llama, folder).model_dump(by_alias=True)
    others = [[{"role": "user", "content": "Zzz"}, {"role": "assistant", "content": f"{n}!"}] for n in range(6)]
    (folder / "held.jsonl").write_text("\n".join(json.dumps({"messages": messages}) for messages in others))
    values["data"]["validation_sources"] = [{"path": str(folder / "held.jsonl")}]
    values["optim"] |= {"lr": 0.05, "schedule": "constant", "warmup": 0.0}
    values["train"] |= {"epochs": 7, "save_every": 5, "validate_every": 2, "log_every": 1, "keep": 2, **changes}
    return TextRunConfig.model_validate(values)


def measured(run: Path, kind: str = "validation", key: str = "loss") -> dict[int, float]:
    return {line["step"]: line[key] for line in read_metrics(run, kind)}


def expected_end(losses: dict[int, float], patience: int, total: int) -> tuple[int, int]:
    """(best step, last step) by the definition: the first smallest loss, and `patience` measurements after it."""
    best = waited = 0
    for step, loss in losses.items():
        best, waited = (step, 0) if not best or loss < losses[best] else (best, waited + 1)
        if patience and waited == patience:
            return best, step
    return best, total


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in read_metrics(run)]


@pytest.fixture(scope="module")
def uninterrupted(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TextRunConfig, Path]:
    """A run with a patience of three measurements, uninterrupted."""
    config = recipe(tiny_llama, tmp_path_factory.mktemp("best"), keep_best="validation_loss", patience=3)
    return config, train(config, Path.cwd())


def test_the_run_ends_when_patience_does(uninterrupted: tuple[TextRunConfig, Path]) -> None:
    _, run = uninterrupted
    losses = measured(run)
    best, last = expected_end(losses, 3, 21)
    assert best < last < 21 and max(losses) == last, losses
    report = json.loads((run / "report.json").read_text())
    assert (report["best_step"], report["best_validation_loss"]) == (best, losses[best])
    assert report["ended_early"] and report["progress"]["step"] == last
    assert read_metrics(run, "train")[-1]["step"] == last


def test_the_best_checkpoint_stays(uninterrupted: tuple[TextRunConfig, Path]) -> None:
    """Beside the two newest ones; `best` names it."""
    _, run = uninterrupted
    best, last = expected_end(measured(run), 3, 21)
    steps = [int(path.name[5:]) for path in list_checkpoints(run)]
    assert best in steps and last in steps and len(steps) == 3, steps
    assert find_checkpoint(run, "best").name == f"step-{best:06d}"
    assert read_progress(find_checkpoint(run)).best_step == best


def test_resumed_at_any_checkpoint_it_is_the_same_run(uninterrupted: tuple[TextRunConfig, Path]) -> None:
    config, run = uninterrupted
    steps, lines = [path.name for path in list_checkpoints(run)], lines_of(run)
    for name in steps[:-1]:
        kept = run.with_name(f"from-{name}")
        shutil.copytree(run, kept)
        for later in steps[steps.index(name) + 1 :]:
            shutil.rmtree(kept / "checkpoints" / later)
        (kept / "report.json").unlink()
        again = config.model_copy(update={"out": str(kept)})
        train(again, Path.cwd(), anyway=True)
        assert lines_of(kept) == lines
        assert find_checkpoint(kept, "best").name == find_checkpoint(run, "best").name


def test_without_patience_it_goes_on(tiny_llama: Path, tmp_path: Path) -> None:
    run = train(recipe(tiny_llama, tmp_path, keep_best="validation_loss"), Path.cwd())
    losses = measured(run)
    best, _ = expected_end(losses, 0, 21)
    assert max(losses) == 21 and json.loads((run / "report.json").read_text())["ended_early"] is False
    assert find_checkpoint(run, "best").name == f"step-{best:06d}"


def test_probes_with_an_expected_answer_are_scored(tiny_llama: Path, tmp_path: Path) -> None:
    """Two of three have one; the third does not count."""
    probes = [{"prompt": "What 1?", "expect": "FOX"}, {"prompt": "What 2?", "expect": "\0"}, {"prompt": "Who?"}]
    changes = {"keep_best": "probe_score", "probes": probes, "sample_every": 4, "epochs": 4}
    run = train(recipe(tiny_llama, tmp_path, **changes), Path.cwd())
    scores = measured(run, "probe", "score")
    answers = {int(file.stem[5:]): json.loads(file.read_text())[0]["answer"] for file in (run / "samples").iterdir()}
    assert scores == {step: ("fox" in answer.lower()) / 2 for step, answer in answers.items()}
    judged = {step: score for step, score in scores.items() if step}
    best = max(judged, key=lambda step: (judged[step], -step))
    assert read_progress(find_checkpoint(run)).best_step == best


def test_an_equal_measurement_is_no_improvement() -> None:
    done = Progress(step=2).measured(0.5, larger_is_better=False)
    assert (done.best_step, done.waited) == (2, 0)
    later = Progress(step=4, best_step=2, best=0.5).measured(0.5, larger_is_better=False)
    assert (later.best_step, later.waited) == (2, 1)
    assert Progress(step=4, best_step=2, best=0.5).measured(0.6, larger_is_better=True).best_step == 4


def test_no_best_checkpoint_is_an_error_that_names_others(tiny_llama: Path, tmp_path: Path) -> None:
    run = train(six_steps(tiny_llama, tmp_path), Path.cwd())
    with pytest.raises(CheckpointError, match="no checkpoint 'best'; there are: step-000004, step-000006"):
        find_checkpoint(run, "best")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 2}, "needs train.keep_best"),
        ({"keep_best": "probe_score", "sample_every": 2}, "needs a probe with `expect`"),
        ({"keep_best": "validation_loss", "validate_every": 0}, "set it above 0"),
    ],
)
def test_measures_that_cannot_be(tiny_llama: Path, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(tiny_llama, tmp_path, **changes)


def test_a_validation_loss_needs_records(tiny_llama: Path, tmp_path: Path) -> None:
    values = six_steps(tiny_llama, tmp_path).model_dump(by_alias=True)
    values["train"] |= {"keep_best": "validation_loss", "validate_every": 2}
    with pytest.raises(ValueError, match=r"needs data\.validation"):
        TextRunConfig.model_validate(values)


def test_the_last_line_has_the_steps_since_the_one_before(tiny_llama: Path, tmp_path: Path) -> None:
    """An early end comes at a step at which no line is due."""
    changes: dict[str, object] = {"keep_best": "validation_loss", "patience": 3, "log_every": 1000}
    run = train(recipe(tiny_llama, tmp_path, **changes), Path.cwd())
    assert [line["step"] for line in read_metrics(run, "train")] == [max(measured(run))] != [21]
