"""Records of a recipe with model.vlm as `data show`, `data stats` and `data check` have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import AutoConfig, AutoProcessor

from data_tools.check.recipe_check import check_recipe
from data_tools.check.rules import CheckRules
from data_tools.inspect.show import show
from data_tools.inspect.stats import collect_statistics
from data_tools.inspect.target import find_target
from llm.config.yaml_loader import resolve_yaml
from tests.vlm.ready.test_families import save_images
from tests.vlm.ready.test_training import recipe

Family = Callable[[str], Path]


def two_images(folder: Path, model: Path, **data: Any) -> Path:
    """A recipe of one record of two images of other sizes and one of text."""
    images = [str(image) for image in save_images(folder)[:2]]
    turns = [
        {"from": "human", "value": "<image><image>Alike?"},
        {"from": "gpt", "value": "No."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    config = recipe(folder, model, data=data, train={"fold": "auto"})
    text = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]
    (folder / "data.json").write_text(json.dumps([{"image": images, "conversations": turns}, {"conversations": text}]))
    (folder / "ready.yaml").write_text(resolve_yaml(config))
    return folder / "ready.yaml"


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision", "idefics3", "gemma3"])
def test_records_are_shown_as_the_processor_writes_them(name: str, family: Family, tmp_path: Path) -> None:
    """One run for each image, whatever marks of rows and tiles are among its tokens; answers are coloured."""
    file = two_images(tmp_path, family(name))
    (tmp_path / "corpus").mkdir()
    shown = show(find_target(str(file)), 4, 0, tmp_path / "corpus")
    samples = [sample for pack in shown.packs for sample in pack.samples]
    [sample] = [sample for sample in samples if sample.images]
    [block] = sample.blocks
    runs = sample.runs_with_images(block)
    assert [image for run, image in runs if run.kind == "image"] == list(sample.images)
    answers = [run.text for run in block.runs if run.kind == "supervised"]
    assert [answer.partition("<")[0] for answer in answers] == ["No.", "Yes."]
    processor: Any = AutoProcessor.from_pretrained(family(name))
    row = json.loads((tmp_path / "data.json").read_text())[0]
    ids = _plain_ids(processor, row)
    token = AutoConfig.from_pretrained(family(name)).image_token_id
    rows = [place for place, found in enumerate(ids) if found == token]
    assert sum(run.tokens for run, image in runs if image) >= len(rows)
    assert block.tokens == len(ids) - 1, "the newline after the last end mark is left out"
    if name != "idefics3":
        assert sum(run.tokens for run, image in runs if image) == len(rows)


def _plain_ids(processor: Any, row: dict[str, Any]) -> list[int]:
    images = [{"type": "image", "image": Image.open(file)} for file in row["image"]]
    texts = [turn["value"].replace("<image>", "") for turn in row["conversations"]]
    messages = [
        {"role": "user" if not number % 2 else "assistant", "content": [{"type": "text", "text": text}]}
        for number, text in enumerate(texts)
    ]
    messages[0]["content"] = [*images, {"type": "text", "text": texts[0]}]
    made = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
    return [int(found) for found in made["input_ids"][0]]


def test_statistics_count_its_image_tokens(family: Family, tmp_path: Path) -> None:
    found, _ = collect_statistics(find_target(str(two_images(tmp_path, family("llava")))))
    assert found.tokens is not None
    assert (found.tokens.image_rows, found.tokens.rows_an_image) == (2 * 16, 16)


def test_records_that_are_too_long_with_their_images_are_found(family: Family, tmp_path: Path) -> None:
    report = check_recipe(str(two_images(tmp_path, family("llava"), max_length=60)), CheckRules())
    assert [(finding.code, finding.row) for finding in report.findings] == [("too-long", 1)]
