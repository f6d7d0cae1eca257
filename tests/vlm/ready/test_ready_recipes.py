"""Recipes with `model.vlm`: which schema they get, and what is refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.inspect.target import find_target
from llm.errors import ConfigError
from tests.vlm.ready.test_training import recipe
from vlm.app.endings import next_of_run
from vlm.app.named_files import missing_files
from vlm.config import ReadyRunConfig, load_config, resolve_yaml
from vlm.model.record_encoder import encoder_of_run
from vlm.ready.encoder import ReadyEncoder

RECIPE = """
name: mine
stage: {stage}
model: {{vlm: {folder}}}
data: {{sources: [{{path: data.json}}]}}
"""


def written(folder: Path, model: str = "models/vlm", stage: str = "finetune") -> Path:
    """A recipe file."""
    file = folder / "recipe.yaml"
    file.write_text(RECIPE.format(stage=stage, folder=model))
    return file


def test_a_recipe_with_model_vlm_has_a_schema_of_its_own(tmp_path: Path) -> None:
    config = load_config(written(tmp_path), ["tune.tower=lora", "optim.tower_lr=1e-5"])
    assert isinstance(config, ReadyRunConfig)
    assert (config.model.llm, config.tune.tower, config.optim.tower_lr) == ("models/vlm", "lora", 1e-5)
    assert "model.vlm: models/vlm" in "\n".join(missing_files(config))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.template=chatml", "model.vlm is prompted by its own chat template"),
        ("train.lean=on", "model.vlm runs its own layers"),
        ("parallel.sequence=2", "only packs of text can be shared by processes"),
        ("model.tower=clip", "model.tower: unknown key"),
        ("tune.projector=lora", "tune.projector"),
    ],
)
def test_what_is_not_there_is_refused_by_name(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path), [override])
    assert said in str(refused.value)


@pytest.mark.parametrize("stage", ["pretrain", "sft"])
def test_other_stages_name_the_one_there_is(stage: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.vlm: a ready model is finetuned: write `stage: finetune`"):
        load_config(written(tmp_path, stage=stage))


def test_a_finetune_does_not_start_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(written(tmp_path).read_text())
    with pytest.raises(ConfigError, match="a finetune of model.vlm starts from its folder"):
        load_config(written(tmp_path), [f"from={tmp_path / 'run'}"])


def test_records_are_counted_without_weights(family: Callable[[str], Path], tmp_path: Path) -> None:
    config = recipe(tmp_path, family("qwen2_5_vl"))
    encoder = encoder_of_run(config)
    assert isinstance(encoder, ReadyEncoder)
    file = tmp_path / "ready.yaml"
    file.write_text(resolve_yaml(config))
    target = find_target(str(file))
    lengths = [len(encoder.encode(record)[0].ids) for _, record in target.conversations()]
    assert len(lengths) == 12 and max(lengths) > 70


def test_chats_show_images(family: Callable[[str], Path], tmp_path: Path) -> None:
    config = recipe(tmp_path, family("llava"))
    assert next_of_run(config, "runs/ready") == (
        "eyegraft chat runs/ready --image FILE",
        "eyegraft export runs/ready DIR",
    )
