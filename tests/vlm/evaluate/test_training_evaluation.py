"""`train.evaluate`: scores of the weights of the moment, in a run that is otherwise as without it, bit by bit."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llm import distributed
from llm.config.schema import RunConfig, TextRunConfig
from llm.distributed import Ranks
from llm.errors import ConfigError, DataError
from llm.files.saved_checkpoints import find_checkpoint, list_checkpoints
from llm.train.checkpoint_state import read_weights
from llm.train.metrics import read_metrics
from tests.vlm.runs import recipe
from vlm.app.named_files import missing_files
from vlm.evaluate import training_evaluation
from vlm.evaluate.benchmark_files import BenchmarkFiles
from vlm.evaluate.benchmark_run import Asking, run_benchmarks
from vlm.evaluate.local_answerer import LocalAnswerer
from vlm.evaluate.train_run import train
from vlm.evaluate.training_evaluation import TrainingEvaluation
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import train as train_alone

CWD = Path.cwd()
TIMES = ("time", "tokens_per_s", "input_wait", "step_seconds", "memory_gib")


def lines_of(run: Path, *without: str) -> list[dict[str, Any]]:
    lines = [line for line in read_metrics(run) if line["kind"] not in without]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def weights_of(run: Path) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in read_weights(list_checkpoints(run)[-1]).items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Letters, and questions that are answered by a text."""
    folder = tmp_path_factory.mktemp("asked")
    rows = [f"{number}\tWhat is {number}?\tfox\tdog\t{'AB'[number % 2]}" for number in range(8)]
    (folder / "letters.tsv").write_text("\n".join(["index\tquestion\tA\tB\tanswer", *rows]) + "\n")
    turns = [
        [{"role": "user", "content": f"Say {n % 3}{'!' * n}"}, {"role": "assistant", "content": "a"}] for n in range(5)
    ]
    (folder / "own.jsonl").write_text("\n".join(json.dumps({"messages": messages}) for messages in turns))
    return str(folder / "letters.tsv"), str(folder / "own.jsonl")


def text_run(llm: Path, folder: Path, out: str, **train_keys: Any) -> TextRunConfig:
    """Six steps with adapters that have dropout, so that a drawn random number changes the weights."""
    rows = [
        [{"role": "user", "content": f"What {n}?"}, {"role": "assistant", "content": f"fox {n}"}] for n in range(12)
    ]
    (folder / "chat.jsonl").write_text("\n".join(json.dumps({"messages": messages}) for messages in rows))
    return TextRunConfig.model_validate(
        {
            "name": "tiny",
            "out": str(folder / out),
            "model": {"llm": str(llm)},
            "data": {"sources": [{"path": str(folder / "chat.jsonl")}], "max_length": 200, "template": "chatml"},
            "tune": {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1},
            "optim": {"lr": 0.02},
            "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "save_every": 3, "log_every": 1, **train_keys},
        }
    )


@pytest.fixture(scope="module")
def evaluated(
    roomy_llm: Path, files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TextRunConfig, Path]:
    folder = tmp_path_factory.mktemp("text")
    plan = {"every": 2, "files": files, "limit": 5}
    config = text_run(roomy_llm, folder, "evaluated", evaluate=plan, keep_best="evaluation")
    return config, train(config, CWD)


def test_the_run_is_the_one_without_it(evaluated: tuple[TextRunConfig, Path]) -> None:
    config, run = evaluated
    assert [line["step"] for line in read_metrics(run, "evaluation")] == [2, 4, 6]
    values = config.model_dump(by_alias=True)
    values["train"] |= {"evaluate": None, "keep_best": "off"}
    alone = train_alone(TextRunConfig.model_validate(values | {"out": f"{run}-alone"}), CWD)
    assert lines_of(run, "evaluation") == lines_of(alone)
    expected, found = weights_of(alone), weights_of(run)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_last_scores_are_those_of_an_evaluation_of_the_run(
    evaluated: tuple[TextRunConfig, Path], files: tuple[str, str], tmp_path: Path
) -> None:
    """`eyegraft eval` decodes by another loop, after the weights were read from a file."""
    _, run = evaluated
    sets = BenchmarkFiles(tuple(map(Path, files)), limit=5).read()
    results = run_benchmarks(LocalAnswerer("x", open_chat_model(run)), "x", sets, tmp_path / "out", Asking(blind=False))
    expected = {f"{one.asked.form}_{one.judged.main.name}": one.judged.main.value for one in results if one.judged.main}
    [*_, line] = read_metrics(run, "evaluation")
    assert {key: line[key] for key in expected} == pytest.approx(expected, abs=1e-6) and len(expected) == 2
    assert line["score"] == line["letters_accuracy"], "of the first file"


def test_the_best_checkpoint_has_the_highest_score(evaluated: tuple[TextRunConfig, Path]) -> None:
    _, run = evaluated
    scores = {line["step"]: line["score"] for line in read_metrics(run, "evaluation")}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert find_checkpoint(run, "best").name == f"step-{best:06d}"


def test_resumed_it_has_the_same_lines(evaluated: tuple[TextRunConfig, Path]) -> None:
    config, run = evaluated
    again = run.with_name("again")
    shutil.copytree(run, again)
    shutil.rmtree(list_checkpoints(again)[-1])
    (again / "report.json").unlink()
    train(config.model_copy(update={"out": str(again)}), CWD, anyway=True)
    assert lines_of(again) == lines_of(run)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_of_a_model_that_sees(stage: str, tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    """Questions with images, in the stage that trains the projector alone and in the one that trains the LLM fully."""
    kind = {"tune": {"kind": "full"}} if stage == "finetune" else {}
    config = recipe(tiny_llm, clip, records, tmp_path / "run", stage, **kind)
    asked = {"every": 2, "files": (str(records.with_name("questions.json")),), "limit": 4}
    runs = []
    for name, plan in (("with", asked), ("without", None)):
        values = config.model_dump(by_alias=True)
        values["train"] |= {"evaluate": plan}
        runs.append(train(type(config).model_validate(values | {"out": str(tmp_path / name)}), CWD))
    scores = read_metrics(runs[0], "evaluation")
    assert len(scores) >= 2 and scores[-1].keys() >= {"score", "exact_exact_match"}
    assert lines_of(runs[0], "evaluation") == lines_of(runs[1])
    found, expected = weights_of(runs[0]), weights_of(runs[1])
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_processes_share_the_questions(
    roomy_llm: Path, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answers its part; together they have the answers of one process, in its order."""
    plan = text_run(roomy_llm, Path(files[0]).parent, "-", evaluate={"files": files}).train.evaluate
    assert plan is not None
    evaluation = TrainingEvaluation(plan, open_chat_model(roomy_llm), together=False)
    expected = evaluation._texts()
    monkeypatch.setattr(training_evaluation, "_exchanged", lambda texts: [texts])
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "ranks", partial(Ranks, rank, 3))
        parts.append(evaluation._texts())
    assert [len(part) for part in parts] == [4, 4, 5] and [text for part in parts for text in part] == expected


def test_texts_of_all_processes_are_exchanged() -> None:
    assert training_evaluation._exchanged(["a", "", "é\ud83d"]) == [["a", "", "é\ud83d"]]


def test_what_cannot_be_scored_is_refused_before_the_first_step(
    roomy_llm: Path, records: Path, files: tuple[str, str], tmp_path: Path
) -> None:
    def begun(file: Path | str) -> Path:
        return train(text_run(roomy_llm, tmp_path, "bad", evaluate={"files": [str(file)]}), CWD)

    with pytest.raises(ConfigError, match="a text model is trained, and the questions have images"):
        begun(records.with_name("questions.json"))
    hidden = tmp_path / "hidden.tsv"
    hidden.write_text("index\tquestion\tA\tB\n1\twhich?\tx\ty\n")
    with pytest.raises(DataError, match="its answers are hidden"):
        begun(hidden)
    with pytest.raises(ConfigError, match="no such file"):
        begun("missing.tsv")
    assert not (tmp_path / "bad" / "metrics.jsonl").exists()
    with pytest.raises(ValueError, match=r"evaluation needs train\.evaluate"):
        text_run(roomy_llm, tmp_path, "bad", keep_best="evaluation")


def test_an_interval_longer_than_the_run_is_refused(roomy_llm: Path, files: tuple[str, str], tmp_path: Path) -> None:
    config = text_run(roomy_llm, tmp_path, "run", evaluate={"files": files, "every": 7})
    with pytest.raises(ConfigError, match=r"train\.evaluate\.every: 7: the run has 6 steps"):
        train(config, CWD)


def test_a_recipe_names_its_files(roomy_llm: Path, tmp_path: Path) -> None:
    config: RunConfig = text_run(roomy_llm, tmp_path, "run", evaluate={"files": ["nowhere.tsv"]})
    assert any(line.startswith("train.evaluate.files.0: nowhere.tsv: not here") for line in missing_files(config))
