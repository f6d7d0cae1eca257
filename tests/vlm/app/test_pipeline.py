"""A pipeline resumes at the step and optimizer step where it stopped; when finished, running it again does nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llm.config.yaml_loader import resolve_yaml
from llm.errors import ConfigError
from llm.train.engine import TorchEngine
from llm.train.metrics import read_metrics
from tests.vlm.runs import recipe
from vlm.app.launch import TrainCommand
from vlm.app.pipeline import run_pipeline
from vlm.config import PipelineConfig, load_config
from vlm.plan.dry_run import dry_run


@pytest.fixture
def pipeline(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> Path:
    """pretrain, finetune, eval, export, in a folder of recipes."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    stages: dict[str, dict[str, Any]] = {"pretrain": {}, "finetune": {"from": str(tmp_path / "pretrain")}}
    for stage, changes in stages.items():
        changes |= {"name": stage, "train": {"save_every": 2}}
        config = recipe(tiny_llm, clip, records, tmp_path / stage, stage, **changes)
        (folder / f"{stage}.yaml").write_text(resolve_yaml(config))
    questions = records.with_name("questions.json")
    run = tmp_path / "finetune"
    (folder / "eval.yaml").write_text(
        f"name: eval\nstage: eval\nrun: {run}\nout: {tmp_path / 'eval'}\nvqa: {{source: {{path: {questions}}}}}\n"
    )
    (folder / "export.yaml").write_text(f"name: export\nstage: export\nrun: {run}\nout: {tmp_path / 'export'}\n")
    file = folder / "pipeline.yaml"
    file.write_text(
        f"name: all\nout: {tmp_path / 'all'}\nsteps: [pretrain.yaml, finetune.yaml, eval.yaml, export.yaml]\n"
    )
    return file


def _run(file: Path) -> Path:
    config = load_config(file)
    assert isinstance(config, PipelineConfig)
    return run_pipeline(config, TrainCommand(file))


def test_a_stopped_pipeline_resumes(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, taken = TorchEngine.step, []

    def dies(self: TorchEngine, factor: float, figures: list[torch.Tensor]) -> list[float]:
        taken.append(factor)
        if len(taken) == 10:  # six steps of stage 1, the fourth of stage 2
            raise MemoryError
        return step(self, factor, figures)

    monkeypatch.setattr(TorchEngine, "step", dies)
    with pytest.raises(MemoryError):
        _run(pipeline)
    monkeypatch.setattr(TorchEngine, "step", step)
    capsys.readouterr()
    cut = json.loads((pipeline.parent.parent / "all" / "pipeline.json").read_text())["finetune"]["seconds"]
    out = _run(pipeline)
    said = capsys.readouterr().out
    assert "step 1/4 pretrain (pretrain): done before" in said
    assert "going on after step 2" in said
    report = json.loads((out / "report.json").read_text())
    assert report["vqa_questions"] == 32 and report["export_max_logit_diff"] < 1e-4
    assert report["finetune_steps"] == 6 and report["seconds"] > 0
    record = json.loads((out / "pipeline.json").read_text())
    assert record["finetune"]["seconds"] > cut > 0, "the attempt that died counts too"
    finished = (out.parent / "finetune" / "metrics.jsonl").read_bytes()
    _run(pipeline)
    assert capsys.readouterr().out.count("done before") == 4
    assert (out.parent / "finetune" / "metrics.jsonl").read_bytes() == finished
    assert len(read_metrics(out.parent / "finetune", "train")) == 6


def test_a_changed_step_is_done_again(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(pipeline)
    evaluation = pipeline.with_name("eval.yaml")
    evaluation.write_text(evaluation.read_text().replace("vqa: {source", "vqa: {limit: 5, source"))
    capsys.readouterr()
    out = _run(pipeline)
    assert capsys.readouterr().out.count("done before") == 2, "the changed step and those behind it run again"
    assert json.loads((out / "report.json").read_text())["vqa_questions"] == 5


def test_dry_run_says_what_would_train(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry_run(load_config(pipeline), pipeline)
    said = capsys.readouterr().out
    assert said.count("trains projector") == 2 and said.count("trains llm") == 1
    assert "in all" in said and "steps" in said
    assert not (pipeline.parent.parent / "pretrain").exists(), "a dry run writes nothing"
    with pytest.raises(ConfigError, match="trains nothing"):
        dry_run(load_config(pipeline.with_name("eval.yaml")), pipeline)
