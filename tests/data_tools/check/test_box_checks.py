"""Boxes in the style of another model, and boxes outside their image."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_tools.check.box_checks import BoxRules
from data_tools.check.check import check
from data_tools.check.recipe_check import check_recipe
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from tests.vlm.conftest import clip, root, tiny_llm  # noqa: F401
from tests.vlm.runs import recipe
from vlm.scores.box_styles import BoxStyle, seen_by, write_box

SIZE = (200, 100)


def counts(folder: Path, answer: str, rules: CheckRules) -> dict[str, int]:
    Image.new("RGB", SIZE).save(folder / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": answer}]
    (folder / "rows.json").write_text(json.dumps([{"id": "1", "image": "a.png", "conversations": turns}]))
    return check(Source(path=str(folder / "rows.json")), folder, rules).counts


def rules(style: BoxStyle, **more: Any) -> CheckRules:
    return CheckRules(boxes=BoxRules(style), **more)


@pytest.mark.parametrize(
    ("style", "answer", "codes"),
    [
        ("llava", "At [0.1, 0.2, 0.5, 0.6].", {}),
        ("llava", "At [10, 20, 50, 60].", {"box-pixels": 1}),
        ("llava", "At <loc0001><loc0002><loc0100><loc0200>.", {"box-convention": 1}),
        ("llava", "At {<1><2><30><40>}.", {"box-convention": 1}),
        ("llava", "At [0.1, 0.2, 1.5, 0.6].", {"box-outside": 1}),
        ("llava", "At [0.5, 0.2, 0.1, 0.6].", {"box-outside": 1}),
        ("thousand", "At [100, 200, 500, 600].", {}),
        ("thousand", "At [0.1, 0.2, 0.5, 0.6].", {"box-convention": 1}),
        ("thousand", "At [100, 200, 1500, 600].", {"box-convention": 1}),
        ("xtuner", "At {<10><20><101><40>}.", {"box-outside": 1}),
        ("paligemma", "At <loc0001><loc0002><loc1023><loc1023>.", {}),
        ("paligemma", "At [0.1, 0.2, 0.5, 0.6], [0.2, 0.2, 0.5, 0.6].", {"box-convention": 1}),
        ("qwen2.5", '{"bbox_2d": [10, 20, 190, 110], "label": "cat"}', {}),  # resized to 196 x 112
        ("qwen2.5", '{"bbox_2d": [10, 20, 190, 130], "label": "cat"}', {"box-outside": 1}),
        ("pixels", "At [10, 20, 190, 90].", {}),
        ("pixels", "At [10, 20, 190, 110].", {"box-outside": 1}),
        ("pixels", "At [-10, 20, 190, 90].", {"box-outside": 1}),
    ],
)
def test_boxes_that_the_model_would_not_understand(
    style: BoxStyle, answer: str, codes: dict[str, int], tmp_path: Path
) -> None:
    assert counts(tmp_path, answer, rules(style)) == codes


def test_without_a_model_pixels_alone_are_reported(tmp_path: Path) -> None:
    assert counts(tmp_path, "At [10, 20, 50, 60].", CheckRules()) == {"box-pixels": 1}
    assert counts(tmp_path, "At {<1><2><3><4>} and [0.1, 0.2, 1.5, 0.6].", CheckRules()) == {}


def test_an_image_that_is_not_opened_has_no_outside(tmp_path: Path) -> None:
    assert counts(tmp_path, "At [10, 20, 190, 110].", rules("pixels", images="off")) == {}


@pytest.mark.parametrize(
    ("boxes", "codes"), [("auto", {"box-pixels"}), ("thousand", set()), ("xtuner", {"box-convention"})]
)
def test_a_recipe_names_the_style(
    boxes: str,
    codes: set[str],
    tiny_llm: Path,  # noqa: F811
    clip: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    counts(tmp_path, write_box((20, 10, 100, 60), "thousand", seen_by("thousand", SIZE)), CheckRules())
    run = recipe(tiny_llm, clip, tmp_path / "rows.json", tmp_path / "run", "finetune", data={"boxes": boxes})
    (tmp_path / "r.yaml").write_text(json.dumps(run.model_dump(by_alias=True, mode="json")))
    assert set(check_recipe(str(tmp_path / "r.yaml"), CheckRules()).counts) == codes
