"""The benchmark's own arithmetic: what is counted, what is left out, and how rows are made of records."""

import pytest

from benchmarks.bench import contenders, table
from benchmarks.figures import seconds_a_step, spread
from benchmarks.ours import recipe
from benchmarks.work import WORKS, _apart
from vlm.config import SCHEMAS


def test_warm_up_is_left_out_and_waiting_counts() -> None:
    ends = [10.0, 30.0, 32.0, 35.0]  # the first step ended at 10; how long it took is not known
    assert seconds_a_step(ends, 1) == [20.0, 2.0, 3.0]
    assert seconds_a_step(ends, 2) == [2.0, 3.0]
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_every_question_becomes_a_row_about_its_picture() -> None:
    said = [("human", "<image>\na?"), ("gpt", "1"), ("human", "b?"), ("gpt", "2")]
    record = {"id": "7", "image": "7.png", "conversations": [{"from": who, "value": text} for who, text in said]}
    rows = _apart(record)
    assert [row["conversations"][0]["value"] for row in rows] == ["<image>\na?", "<image>\nb?"]
    assert [row["conversations"][1]["value"] for row in rows] == ["1", "2"]
    assert {row["image"] for row in rows} == {"7.png"} and len({row["id"] for row in rows}) == 2


@pytest.mark.parametrize("name", WORKS)
def test_recipes_are_recipes_and_batches_divide(name: str) -> None:
    from dataclasses import asdict

    work = WORKS[name]
    spec = {"work": asdict(work), "llm": "x", "tower": "y", "image_size": 224, "data": "d", "images": "", "out": "o"}
    config = SCHEMAS[work.stage].model_validate(recipe(spec | {"pack_tokens": 2048, "train": {}, "options": {}}))
    assert config.name == name
    assert all(work.batch % one.micro_batch == 0 for one in contenders(work) if one.micro_batch)


def test_the_table_names_everyone() -> None:
    rate = {"median": 2.0, "min": 1.0, "max": 3.0}
    row = {
        "work": "w",
        "tower": "vit",
        "contender": "trl",
        "samples_per_s": rate,
        "ours_is_faster": 6.0,
        "peak_gib": 2.0,
    }
    assert table([row]).splitlines()[2] == "| w | vit | trl | 2.00 (1.00 to 3.00) | 6.0x | 2.0 |"
