"""The benchmark's own arithmetic: what is counted, what is left out, and how rows are made of records."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from benchmarks.bench import OURS, entries, figures, table, told
from benchmarks.gate import Contender
from benchmarks.ours import Count, recipe
from benchmarks.work import WORKS, _apart
from vlm.config import SCHEMAS


def test_every_question_becomes_a_row_about_its_picture() -> None:
    said = [("human", "<image>\na?"), ("gpt", "1"), ("human", "b?"), ("gpt", "2")]
    record = {"id": "7", "image": "7.png", "conversations": [{"from": who, "value": text} for who, text in said]}
    rows = _apart(record)
    assert [row["conversations"][0]["value"] for row in rows] == ["<image>\na?", "<image>\nb?"]
    assert [row["conversations"][1]["value"] for row in rows] == ["1", "2"]
    assert {row["image"] for row in rows} == {"7.png"} and len({row["id"] for row in rows}) == 2


@pytest.mark.parametrize("name", WORKS)
def test_recipes_are_recipes_and_batches_divide(name: str, tmp_path: Path) -> None:
    work = WORKS[name]
    spec = {"work": asdict(work), "llm": "x", "tower": "y", "image_size": 224, "data": "d", "images": ""}
    for entry in entries(work, everyone=True):
        if entry.module == "ours":
            config = SCHEMAS[work.stage].model_validate(recipe(spec | told(entry, tmp_path)))
            assert config.name == name
        else:
            assert work.batch % entry.micro_batch == 0


def test_a_contender_steps_when_told_and_waiting_does_not_count(tmp_path: Path) -> None:
    process = Contender("peak", {}, tmp_path / "peak")
    first = process.hear()
    time.sleep(1.5)
    second = process.step()
    process.end()
    assert first["flops_per_s"] > 0 and second["peak_gib"] > 0
    assert 1 <= second["seconds"] < 1.5 + 1, "the pause belongs to nobody's step"


def test_a_contender_that_dies_is_quoted(tmp_path: Path) -> None:
    process = Contender("peers", {"trainer": "trl"}, tmp_path / "peers")
    with pytest.raises(SystemExit, match="KeyError: 'work'|No module named"):
        process.hear()


def test_operations_are_those_nobody_can_leave_out() -> None:
    frozen, head = nn.Linear(8, 4, bias=False).requires_grad_(False), nn.Linear(8, 100, bias=False)
    llm: Any = nn.ModuleDict(
        {"body": frozen, "adapter": nn.Linear(8, 2, bias=False), "head": head.requires_grad_(False)}
    )
    whole: Any = nn.Module()
    whole.llm = llm
    llm.get_output_embeddings = lambda: head
    count = Count(whole)
    assert count.a_row == 4 * 32 + 6 * 16, "forward and the input's gradient; the weight's only where it trains"
    assert count.a_target == 4 * 800


def test_figures_compare_medians_and_shares() -> None:
    slow = [{"samples": 4, "tokens": 40, "seconds": seconds, "peak_gib": 2.0} for seconds in (4.0, 8.0)]
    fast = [{"samples": 8, "tokens": 80, "rows": 40, "flops": 5e9, "seconds": 1.0, "peak_gib": 1.0}]
    rows = figures(WORKS["questions"], "vit", {OURS: fast, "TRL": slow, "peak": [{"flops_per_s": 1e10}]})
    assert [row["ours_is_faster"] for row in rows] == [1.0, 10.67]
    assert (rows[0]["share_of_bf16_peak"], rows[0]["rows_a_token"], rows[0]["bf16_peak_tflops"]) == (0.5, 0.5, 0.01)
    assert table(rows).splitlines()[3].endswith("| TRL | 0.75 samples (0.50 to 1.00) | 10.7x | 2.0 |  |")
