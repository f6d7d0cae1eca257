"""How a model writes boxes: by its recipe, or by its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm.config.yaml_loader import load_yaml
from tests.vlm.runs import recipe
from vlm.config import parse_config
from vlm.scores.box_styles import QWEN_PIXELS
from vlm.scores.model_boxes import ModelBoxes, boxes_of_folder, boxes_of_run

SIZE = (200, 100)


def folder(path: Path, kind: str, **settings: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": kind}))
    (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        ("qwen3_vl", "thousand"),
        ("internvl", "thousand"),
        ("paligemma", "paligemma"),
        ("llava", "llava"),
        ("mllama", None),
    ],
)
def test_a_folder_is_known_by_its_type(kind: str, style: str | None, tmp_path: Path) -> None:
    assert boxes_of_folder(folder(tmp_path / "m", kind)).style == style


def test_qwens_pixels_are_those_of_its_processor(tmp_path: Path) -> None:
    own = {"patch_size": 14, "merge_size": 2, "min_pixels": 3136, "max_pixels": 50176}
    found = boxes_of_folder(folder(tmp_path / "m", "qwen2_5_vl", **own))
    assert found == ModelBoxes("qwen2.5", (28, 3136, 50176))
    new = {"patch_size": 16, "merge_size": 2, "size": {"shortest_edge": 1024, "longest_edge": 4096}}
    assert boxes_of_folder(folder(tmp_path / "m", "qwen2_5_vl", **new)).pixels == (32, 1024, 4096)
    assert boxes_of_folder(folder(tmp_path / "m", "qwen2_5_vl")).pixels == QWEN_PIXELS
    # 1000 x 800 is resized to 224 x 196 in all: the box of half of it is half of that.
    [box] = found.read('{"bbox_2d": [0, 0, 112, 98], "label": "x"}', (1000, 800))
    assert box.box == pytest.approx((0, 0, 500, 400), abs=1)


def test_a_broken_folder_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert boxes_of_folder(tmp_path) == ModelBoxes() == boxes_of_folder(tmp_path / "gone")


def test_a_recipe_may_say_otherwise(tmp_path: Path) -> None:
    made = recipe(tmp_path, tmp_path, tmp_path, tmp_path, "finetune")
    assert boxes_of_run(made).style == "llava"
    chosen = made.model_copy(update={"data": made.data.model_copy(update={"boxes": "xtuner"})})
    assert boxes_of_run(chosen).style == "xtuner"
    model = folder(tmp_path / "m", "qwen2_5_vl", max_pixels=50176)
    (tmp_path / "r.yaml").write_text(
        json.dumps(
            {"name": "x", "stage": "finetune", "model": {"vlm": str(model)}, "data": {"sources": [{"path": "d"}]}}
        )
    )
    ready: Any = parse_config(load_yaml(tmp_path / "r.yaml"))
    assert boxes_of_run(ready) == ModelBoxes("qwen2.5", (28, 3136, 50176))


def test_other_forms_are_read_where_none_is_the_models() -> None:
    assert ModelBoxes("llava").read("<box>(100,100),(500,600)</box>", SIZE)[0].box == (20, 10, 100, 60)
    assert ModelBoxes("thousand").read("[100, 100, 500, 600]", SIZE)[0].box == (20, 10, 100, 60)
    assert ModelBoxes().read("[100, 100, 500, 600]", SIZE) == []
