"""Targets: files and recipes are distinguished, options without effect refused, records drawn at random."""

import json
from pathlib import Path

import pytest

from data_tools.inspect.target import draw, find_target
from llm.config.schema import TrainConfig
from llm.errors import ConfigError


def file_of(folder: Path, count: int, images: int = 0) -> Path:
    """Records `q0`, `q1`, ...; with `images`, each shows one of so many."""
    mark = "<image>\n" if images else ""
    rows = [
        {"conversations": [{"from": "human", "value": f"{mark}q{n}"}, {"from": "gpt", "value": f"a{n}"}]}
        | ({"image": f"{n % images}.png"} if images else {})
        for n in range(count)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe_of(folder: Path, data: Path, more: str = "") -> Path:
    path = folder / "small.yaml"
    path.write_text(f"name: small\nseed: 7\nmodel: {{llm: tiny}}\ndata: {{sources: [{{path: {data}}}]}}\n{more}")
    return path


def asked(subject_file: Path, count: int, seed: int) -> list[str]:
    return [record.messages[0].text for _, record in draw(find_target(str(subject_file)), count, seed)]


def test_a_file_is_read_with_default_settings_and_a_recipe_with_its_own(tmp_path: Path) -> None:
    data = file_of(tmp_path, 3)
    plain = find_target(str(data))
    assert (plain.model, plain.train, plain.data.max_length) == ("", TrainConfig(), 2048)
    assert len(list(plain.conversations())) == 3
    packed = find_target(str(data), "folder", budget=512, batch=3)
    assert (packed.model, packed.train.pack_tokens, packed.train.batch, packed.data.max_length) == (
        "folder",
        512,
        3,
        512,
    )
    ruled = find_target(str(recipe_of(tmp_path, data, "train: {batch: 5, pack_tokens: 900}")), batch=6)
    assert (ruled.model, ruled.seed, ruled.train.batch, ruled.train.pack_tokens) == ("tiny", 7, 6, 900)
    assert find_target("quickstart/finetune").train.batch == 4, "a shipped recipe"


def test_a_runs_recipe_reads_another_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    recipe_of(tmp_path, tmp_path / "other.json", "train: {batch: 5}").rename(run / "config.yaml")
    target = find_target(str(file_of(tmp_path, 2)), str(run))
    assert (target.model, target.train.batch, len(list(target.conversations()))) == ("tiny", 5, 2)


def test_split_chooses_the_records(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"train": [{"text": "a"}], "test": [{"text": "b"}]}')
    for split, text in (("train", "a"), ("test", "b")):
        target = find_target(str(tmp_path / "a.json"), split=split)
        assert [one.messages[0].text for _, one in target.conversations()] == [text]
    with pytest.raises(ConfigError, match="--split: the recipe quickstart/finetune names its splits"):
        find_target("quickstart/finetune", split="test")


def test_refusals(tmp_path: Path) -> None:
    data = str(file_of(tmp_path, 1))
    with pytest.raises(ConfigError, match="names its model"):
        find_target("quickstart/finetune", "folder")
    with pytest.raises(ConfigError, match="Name one of its steps: pretrain"):
        find_target("quickstart/pipeline")
    with pytest.raises(ConfigError, match="stage export has no training data"):
        find_target("quickstart/export")
    with pytest.raises(ConfigError, match="--image-rows.*Add --model"):
        find_target(data, image_tokens=4)
    with pytest.raises(ConfigError, match="--budget and --batch.*Add --model"):
        find_target(data, budget=4)
    with pytest.raises(ConfigError, match=r"none\.json: no such file"):
        list(find_target(str(tmp_path / "none.json")).conversations())


def test_a_draw_is_random_and_reproducible(tmp_path: Path) -> None:
    data = file_of(tmp_path, 50)
    first = asked(data, 5, 0)
    assert first == asked(data, 5, 0) and len(set(first)) == 5
    assert first != asked(data, 5, 1)
    assert asked(data, 8, 0)[:5] == first, "a larger draw starts with the same records"
    assert sorted(asked(data, 99, 0)) == sorted(f"q{n}" for n in range(50))
    seen = {text for seed in range(60) for text in asked(data, 5, seed)}
    assert len(seen) > 45, "every record can be drawn"


def test_by_image_records_of_one_image_are_drawn_together(tmp_path: Path) -> None:
    data = file_of(tmp_path, 24, images=6)
    target = find_target(str(recipe_of(tmp_path, data, "train: {order: by_image}")))
    images = [record.images[0].path for _, record in draw(target, 8, 0)]
    assert len(set(images)) == 2 and images == sorted(images, key=images.index), "two images of four records each"
