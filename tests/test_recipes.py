"""The recipes that ship: every one resolves, their names are found, listed and copied."""

import json
import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from llm.config.schema import RunConfig
from llm.encoding.named_templates import JINJA
from llm.errors import ConfigError
from llm.formats.readers import READERS
from vlm.config import (
    EvalConfig,
    ExportConfig,
    PipelineConfig,
    VlmRunConfig,
    load_config,
    load_steps,
    resolve_yaml,
)
from vlm.recipes import CONFIGS, ShippedRecipe, copy_recipe, find_recipe, list_recipes

ROOT = Path(__file__).resolve().parent.parent
RECIPES = list_recipes()
LLAVA = [
    f"llava_{llm}_clip_vit_large_p14_336_{method}"
    for llm in ("vicuna_7b_v1_5", "internlm2_chat_1_8b", "qwen2_5_1_5b_instruct", "qwen2_5_7b_instruct")
    for method in ("pretrain", "finetune_qlora", "finetune_full")
]
TEXT = [
    *("internlm2_chat_1_8b_qlora_alpaca_e3", "internlm2_chat_1_8b_qlora_oasst1_e3"),
    *("qwen2_5_1_5b_instruct_qlora_alpaca_e3", "qwen2_5_1_5b_instruct_qlora_oasst1_e3"),
    *("qwen2_5_1_5b_full_custom_pretrain_e1", "internlm2_1_8b_qlora_custom_pretrain_e1"),
    *("identity_qwen2_5_1_5b_lora", "identity_qwen2_5_1_5b_qlora", "internlm2_chat_1_8b_qlora_identity"),
]


@pytest.fixture(params=RECIPES, ids=[recipe.name for recipe in RECIPES])
def recipe(request: pytest.FixtureRequest) -> ShippedRecipe:
    """Every shipped recipe in turn."""
    assert isinstance(request.param, ShippedRecipe)
    return request.param


def test_every_recipe_resolves_and_its_resolution_is_the_same_recipe(recipe: ShippedRecipe, tmp_path: Path) -> None:
    config = load_config(recipe.name)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(resolve_yaml(config), encoding="utf-8")
    assert load_config(resolved) == config
    if isinstance(config, PipelineConfig):
        assert len(load_steps(config, recipe.path)) == len(config.steps)


def test_every_recipe_has_a_comment_with_purpose_needs_and_command(recipe: ShippedRecipe) -> None:
    comments = [line for line in recipe.path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert len(recipe.about) > 20
    assert any(line.startswith("# Card: ") for line in comments)
    command = next(line for line in comments if line.startswith("# Run:  "))
    if match := re.search(r"eyegraft (?:train|eval) (\S+)", command):
        assert find_recipe(match[1]) == recipe.path


def test_names_and_run_folders_are_unique() -> None:
    configs = [load_config(recipe.name) for recipe in RECIPES]
    names = Counter(config.name for config in configs)
    folders = Counter(config.out or f"runs/{config.name}" for config in configs)
    assert [name for name, count in (names + folders).items() if count > 1] == []


def test_the_recipes_of_the_course_are_shipped() -> None:
    for name in (*LLAVA, *TEXT):
        assert load_config(name).name == name


def test_llava_recipes_have_the_published_numbers() -> None:
    for name in LLAVA:
        config = load_config(name)
        assert isinstance(config, VlmRunConfig)
        assert (config.model.tower_layer, config.data.max_length, config.train.epochs) == (-2, 2048, 1)
        if config.stage == "pretrain":
            assert (config.optim.lr, config.train.batch, config.tune.kind) == (1e-3, 256, "frozen")
            assert config.model.image_mode == "resize"
            continue
        assert (config.train.batch, config.model.image_mode) == (128, "pad")
        assert config.start == f"runs/{name.rpartition('_finetune')[0]}_pretrain"
        if config.tune.kind == "qlora":
            assert (config.tune.rank, config.tune.alpha, config.tune.dropout, config.optim.lr) == (512, 256, 0.05, 2e-4)
            assert (config.tune.tower, config.tune.tower_rank, config.tune.tower_alpha) == ("lora", 64, 16)
        else:
            assert (config.tune.kind, config.tune.tower, config.optim.lr) == ("full", "frozen", 2e-5)


def test_stage_two_starts_from_the_model_of_stage_one() -> None:
    """A recipe that names an earlier run describes the same model; other weights would not fit."""
    configs = {config.out or f"runs/{config.name}": config for config in (load_config(r.name) for r in RECIPES)}
    pairs = [
        (config, configs[config.start]) for config in configs.values() if isinstance(config, RunConfig) and config.start
    ]
    assert len(pairs) >= 8
    for after, before in pairs:
        assert isinstance(before, RunConfig)
        same = {"image_mode"}
        assert after.model.model_dump(exclude=same) == before.model.model_dump(exclude=same)


def test_text_qlora_recipes_have_the_published_numbers() -> None:
    for name in TEXT[:4]:
        config = load_config(name)
        assert isinstance(config, RunConfig)
        assert (config.tune.kind, config.tune.rank, config.tune.alpha, config.tune.dropout) == ("qlora", 64, 16, 0.1)
        assert (config.optim.lr, config.optim.betas, config.optim.clip) == (2e-4, (0.9, 0.999), 1)
        assert (config.data.max_length, config.train.epochs, config.train.packing) == (2048, 3, "fill")
        assert (config.train.save_every, config.train.keep, config.train.sample_every) == (500, 2, 500)
        assert len(config.train.probes) == 2


def test_templates_and_formats_named_in_recipes_exist() -> None:
    configs = [config for recipe in RECIPES if isinstance(config := load_config(recipe.name), RunConfig)]
    templates = {config.data.template for config in configs}
    formats = {source.format for config in configs for source in config.data.sources}
    assert {"vicuna", "plain"} <= templates <= JINJA.keys() | {"auto"}
    assert {"llava", "alpaca"} <= formats <= READERS.keys() | {"auto"}


def test_pipelines_evaluate_runs_of_earlier_steps() -> None:
    configs = {recipe: config for recipe in RECIPES if isinstance(config := load_config(recipe.name), PipelineConfig)}
    assert "quickstart/pipeline" in {recipe.name for recipe in configs}
    for recipe, config in configs.items():
        made: list[str] = []
        for path, step in load_steps(config, recipe.path):
            if isinstance(step, EvalConfig | ExportConfig):
                assert step.run in made, f"{path} reads {step.run}, which no step before it makes"
            if isinstance(step, RunConfig):
                made.append(step.out or f"runs/{step.name}")


def test_recipes_are_found_by_path_by_name_and_by_the_names_last_part() -> None:
    path = CONFIGS / "llava" / f"{LLAVA[0]}.yaml"
    assert find_recipe(str(path)) == find_recipe(f"llava/{LLAVA[0]}") == find_recipe(LLAVA[0]) == path


def test_a_local_file_precedes_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / LLAVA[0]).write_text("name: mine\n")
    assert find_recipe(LLAVA[0]) == Path(LLAVA[0])


def test_a_missing_recipe_suggests_similar_names(tmp_path: Path) -> None:
    (tmp_path / "my_run.yaml").touch()
    with pytest.raises(ConfigError, match=f"no such file or recipe. Similar: {tmp_path}/my_run.yaml"):
        find_recipe(str(tmp_path / "myrun.yaml"))
    with pytest.raises(ConfigError, match="Similar: identity/identity_qwen2_5_1_5b_lora"):
        find_recipe("identity_qwen2_1_5b_lora")
    with pytest.raises(ConfigError, match="no such file or recipe; `eyegraft ls` lists the recipes"):
        find_recipe("xyzzy")
    with pytest.raises(ConfigError, match=f"is a folder; name one of its recipes: {tmp_path}/my_run.yaml"):
        find_recipe(str(tmp_path))
    (tmp_path / "my_run.yaml").unlink()
    with pytest.raises(ConfigError, match="is a folder without recipes; name a YAML file"):
        find_recipe(str(tmp_path))


def test_an_ambiguous_name_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pretrain.yaml").write_text(f"# {folder}\n")
    monkeypatch.setattr("vlm.recipes.CONFIGS", tmp_path)
    with pytest.raises(ConfigError, match="several recipes have this name: a/pretrain, b/pretrain"):
        find_recipe("pretrain")
    assert find_recipe("b/pretrain") == tmp_path / "b" / "pretrain.yaml"


def test_listing_takes_a_part_of_the_name_or_a_glob() -> None:
    assert {recipe.name for recipe in list_recipes("Vicuna")} == {f"llava/{name}" for name in LLAVA[:3]}
    assert [recipe.name for recipe in list_recipes("*_1_5b_lora")] == ["identity/identity_qwen2_5_1_5b_lora"]
    assert list_recipes("xyzzy") == []


def test_copying_never_overwrites(tmp_path: Path) -> None:
    copy = tmp_path / "new" / "mine.yaml"
    assert copy_recipe(LLAVA[0], copy) == [copy]
    assert copy.read_bytes() == find_recipe(LLAVA[0]).read_bytes()
    copy.write_text("edited")
    with pytest.raises(ConfigError, match="mine.yaml: exists already"):
        copy_recipe(LLAVA[0], copy)
    assert copy.read_text() == "edited"
    assert copy_recipe(LLAVA[0], tmp_path) == [tmp_path / f"{LLAVA[0]}.yaml"]


def test_a_copied_folder_brings_a_pipeline_that_still_resolves(tmp_path: Path) -> None:
    copies = copy_recipe("quickstart", tmp_path / "mine")
    assert tmp_path / "mine" / "pipeline.yaml" in copies
    assert len(copies) == sum(path.is_file() for path in (CONFIGS / "quickstart").rglob("*"))
    config = load_config(tmp_path / "mine" / "pipeline.yaml")
    assert isinstance(config, PipelineConfig)
    assert {path.parent for path, _ in load_steps(config, tmp_path / "mine" / "pipeline.yaml")} == {tmp_path / "mine"}


def test_copying_to_an_unwritable_place_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="choose a writable place"):
        copy_recipe(LLAVA[0], tmp_path / "file" / "mine.yaml")


def test_the_package_contains_every_recipe() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert any(fnmatch("configs.quickstart", pattern) for pattern in setup["packages"]["find"]["include"])
    files = [path for path in CONFIGS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    left_out = [path.name for path in files if not any(fnmatch(path.name, p) for p in setup["package-data"]["*"])]
    assert len(files) >= len(RECIPES)
    assert left_out == []


def test_json_files_of_recipes_are_valid() -> None:
    files = sorted(path for path in CONFIGS.rglob("*.json"))
    assert {path.name for path in files} >= {"train.json", "held_out.json", "others.json", "general.json"}
    assert [path for path in files if not json.loads(path.read_text(encoding="utf-8"))] == []
