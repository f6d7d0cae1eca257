"""`from:` supplies `model:`: from a run folder and from an earlier step of a pipeline; what a recipe says is kept."""

from pathlib import Path

import pytest

from llm.config.schema import RunConfig
from llm.errors import ConfigError
from vlm.config import PipelineConfig, load_config, load_steps

PRETRAIN = """\
name: first
stage: pretrain
out: runs/first
model: {llm: models/llm, tower: models/tower, image_size: 128}
data: {sources: [{path: a.json}]}
"""
FINETUNE = "name: second\nstage: finetune\nfrom: runs/first\ndata: {sources: [{path: a.json}]}\n"
TEXT = "name: text\nout: runs/first\nmodel: {llm: models/llm}\ndata: {sources: [{path: a.json}]}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the folder of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.yaml").write_text(PRETRAIN)
    (tmp_path / "second.yaml").write_text(FINETUNE)
    return tmp_path


def model_of(path: str, *overrides: str) -> dict[str, object]:
    config = load_config(path, overrides)
    assert isinstance(config, RunConfig)
    return {key: value for key, value in config.model.model_dump().items() if key in ("llm", "tower", "image_size")}


def test_the_model_is_that_of_the_run(folder: Path) -> None:
    assert model_of("second.yaml") == {"llm": "models/llm", "tower": "models/tower", "image_size": 128}


@pytest.mark.parametrize("start", ["runs/first/", "./runs/first", "{folder}/runs/first"])
def test_the_folder_may_be_written_in_any_way(folder: Path, start: str) -> None:
    assert model_of("second.yaml", f"from={start.format(folder=folder)}")["tower"] == "models/tower"


def test_what_the_recipe_says_is_kept(folder: Path) -> None:
    with (folder / "second.yaml").open("a") as recipe:
        recipe.write("model: {tower: other}\n")
    assert model_of("second.yaml", "model.image_size=64") == {"llm": "models/llm", "tower": "other", "image_size": 64}


def test_a_text_run_takes_the_language_model_alone(folder: Path) -> None:
    (folder / "text.yaml").write_text(FINETUNE.replace("finetune", "sft"))
    assert model_of("text.yaml") == {"llm": "models/llm"}


def test_a_vision_run_from_a_text_run_still_needs_its_tower(folder: Path) -> None:
    (folder / "runs/first/config.yaml").write_text(TEXT)
    with pytest.raises(ConfigError, match=r"runs/first/config.yaml: model.tower: missing"):
        load_config("second.yaml")
    assert model_of("second.yaml", "model.tower=t") == {"llm": "models/llm", "tower": "t", "image_size": 0}


def test_without_a_stage_the_tower_asks_for_one(folder: Path) -> None:
    (folder / "bare.yaml").write_text(FINETUNE.replace("stage: finetune\n", ""))
    with pytest.raises(ConfigError, match="stage: missing; a tower needs `stage: pretrain` or `finetune`"):
        load_config("bare.yaml")


def test_a_run_that_is_not_there_supplies_nothing(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match="command line: from: runs/none is no run, and `model` is left out; train that"
    ):
        load_config("second.yaml", ["from=runs/none"])


@pytest.mark.parametrize("content", ["", "model: [1]\n", "name: x\n"])
def test_a_recipe_without_a_model_supplies_nothing(folder: Path, content: str) -> None:
    (folder / "runs/first/config.yaml").write_text(content or "steps: [a]\n")
    with pytest.raises(ConfigError, match="model: missing"):
        load_config("second.yaml")


def test_a_pipelines_later_step_takes_the_model_of_an_earlier_one(folder: Path) -> None:
    (folder / "runs/first/config.yaml").unlink()
    (folder / "first.yaml").write_text(PRETRAIN)
    (folder / "third.yaml").write_text(FINETUNE.replace("runs/first", "runs/second").replace("second\n", "third\n", 1))
    (folder / "all.yaml").write_text("name: all\nsteps: [first.yaml, second.yaml, third.yaml]\n")
    config = load_config("all.yaml")
    assert isinstance(config, PipelineConfig)
    steps = [step for _, step in load_steps(config, folder / "all.yaml")]
    assert [step.model.llm for step in steps if isinstance(step, RunConfig)] == ["models/llm"] * 3
    (folder / "all.yaml").write_text("name: all\nsteps: [second.yaml, first.yaml]\n")
    with pytest.raises(ConfigError, match="from: runs/first is no run, and `model` is left out"):
        load_steps(config.model_copy(update={"steps": ("second.yaml", "first.yaml")}), folder / "all.yaml")
