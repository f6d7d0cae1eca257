"""What a recipe names and is not here, for the verdict of `validate`."""

from pathlib import Path

import pytest

from vlm.app.endings import verdict
from vlm.app.named_files import missing_files
from vlm.config import load_config

RUN = """\
name: a
stage: finetune
out: runs/a
model: {llm: LLM, tower: TOWER}
data: {sources: [{path: PATH, images: img}]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a data file, a folder of images and one of models."""
    monkeypatch.chdir(tmp_path)
    for folder in ("img", "models/llm", "models/clip"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "Train.json").write_text("[]")
    return tmp_path


def missing(here: Path, llm: str = "models/llm", tower: str = "models/clip", path: str = "Train.json") -> list[str]:
    recipe = here / "a.yaml"
    recipe.write_text(RUN.replace("LLM", llm).replace("TOWER", tower).replace("PATH", path))
    return list(missing_files(load_config(recipe)))


def test_nothing_is_missing(here: Path) -> None:
    assert missing(here) == []
    assert verdict(load_config("a.yaml"), Path("a.yaml")) == (
        [],
        "a.yaml: the recipe is valid, and every file that it names is here",
    )


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("path", "train.json", "data.sources.0.path: train.json: not here; did you mean Train.json?"),
        ("path", "Trian.json", "data.sources.0.path: Trian.json: not here; did you mean Train.json?"),
        ("path", "other/x.json", "data.sources.0.path: other/x.json: not here, nor is its folder other"),
        ("path", "'D:\\a\\b.json'", "data.sources.0.path: D:\\a\\b.json: not here. It is a path of Windows: write"),
        ("path", "org/set", "data.sources.0.path: org/set: no such folder here; it is taken as a hub id"),
        ("path", "assets/x.json", "data.sources.0.path: assets/x.json: not here; `eyegraft assets` fetches the models"),
        ("llm", "models/lllm", "model.llm: models/lllm: not here; did you mean models/llm?"),
        ("llm", "Qwen/Qwen2.5-0.5B", "model.llm: Qwen/Qwen2.5-0.5B: no such folder here; it is taken as a hub id"),
        ("llm", "org/name@v1", "model.llm: org/name@v1: no such folder here; it is taken as a hub id"),
        ("llm", "modelscope:o/n@v1", "model.llm: modelscope:o/n@v1: what is not in the cache of it is fetched from m"),
        ("llm", "hf:o/n/x", "model.llm: hf:o/n/x: a model is a complete repository: write hf:o/n"),
        ("path", "hf:datasets/o/n/a.json", "data.sources.0.path: hf:datasets/o/n/a.json: what is not in the cache"),
        ("path", "hf:o/n", "data.sources.0.path: hf:o/n: data of a hub is written hf:datasets/o/n"),
        ("tower", "timm:hf:o/n", "model.tower: hf:o/n: what is not in the cache of it is fetched from"),
        ("tower", "models/clop", "model.tower: models/clop: not here; did you mean models/clip?"),
        ("tower", "timm:models/clop", "model.tower: models/clop: not here; did you mean models/clip?"),
        ("tower", "open_clip:ViT-B-32@models/w.pt", "model.tower: models/w.pt: not here; models holds nothing"),
    ],
)
def test_each_is_named_with_what_to_do(here: Path, key: str, value: str, line: str) -> None:
    (found,) = missing(here, **{key: value})
    assert found.startswith(line)


@pytest.mark.parametrize("tower", ["timm:resnet18", "open_clip:ViT-B-32", "~/clip"])
def test_names_that_libraries_know_and_the_home_folder_are_not_missing(
    here: Path, tower: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here / "models"))
    assert missing(here, tower=tower) == []


def test_a_run_that_an_earlier_step_writes_is_not_missing(here: Path) -> None:
    assert missing(here) == []
    (here / "eval.yaml").write_text("name: e\nstage: eval\nrun: runs/a\nvqa: {source: {path: Train.json}}\n")
    (here / "both.yaml").write_text("name: b\nsteps: [a.yaml, eval.yaml]\n")
    assert verdict(load_config("both.yaml"), Path("both.yaml"))[0] == []
    assert list(missing_files(load_config("eval.yaml"))) == ["run: runs/a: not here, nor is its folder runs"]
