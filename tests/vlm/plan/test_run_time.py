"""The time of a run before it begins: tokens, records and operations counted by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm.config.schema import TextRunConfig
from tests.vlm.runs import recipe
from vlm.plan.run_time import TypicalRecord, run_seconds, sample_records, trained_records


def text(llm: Path, **train: Any) -> TextRunConfig:
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"llm": str(llm)},
        "data": {"sources": [{"path": "records.jsonl"}], "max_length": 500, "template": "chatml"},
        "tune": {"kind": "full"},
        "train": {"pack_tokens": 1000, "dtype": "fp32", "batch": 10, **train},
    }
    return TextRunConfig.model_validate(values)


def write(folder: Path, *answers: str, **parts: Any) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}], **parts}
        for answer in answers
    ]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_mean_of_the_records(roomy_llm: Path, tmp_path: Path) -> None:
    """A byte is a token. <|im_start|>user LF Hi<|im_end|> LF <|im_start|>assistant LF and <|im_end|>: 22 tokens, and
    2, 10 and 600 bytes of answer; the last record is longer than data.max_length and not trained on.
    """
    write(tmp_path, "Ho", "x" * 10, "x" * 600)
    found = sample_records(text(roomy_llm), tmp_path)
    assert found == TypicalRecord((24 + 32) / 3, images=False)


def test_the_first_records_stand_for_all(roomy_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm.plan.run_time.SAMPLED", 2)
    write(tmp_path, "Ho", "Ho", "x" * 300)
    assert sample_records(text(roomy_llm), tmp_path).tokens == 24


def test_the_seconds_of_a_text_run(roomy_llm: Path) -> None:
    """40 records of 50 tokens, twice, every token a target: the formula that tests/vlm/plan/test_plan.py holds for a
    pack. Steps of 10 records are packs of 500 tokens, in which a token sees its own record alone.
    """
    config = text(roomy_llm, epochs=2)
    linears = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    pairs = 40 * 2 * (50 * 51 // 2)
    by_hand = 6 * 40 * 2 * 50 * (linears + 32 * 300) + 12 * pairs * 32 * 2
    found = run_seconds(config, (), "card", 1.0, TypicalRecord(50.0, False), 40, flops_per_s=1e6)
    assert found == pytest.approx(by_hand / 1e6)


def test_images_are_work_of_the_tower(roomy_llm: Path, clip: Path) -> None:
    """Records of 40 tokens, of which an image takes 16: it has no targets for the head, but the tower's work."""
    config = recipe(roomy_llm, clip, Path("records.json"), Path("run"), "finetune")
    seen, unseen = (run_seconds(config, (), "card", 1.0, TypicalRecord(40.0, images), 9, 1e6) for images in (1, 0))
    assert seen > unseen > 0
    short = run_seconds(config, (), "card", 1.0, TypicalRecord(5.0, True), 9, 1e6)
    assert 0 < short < seen, "most records are without an image: their mean is shorter than one"


@pytest.mark.parametrize(
    ("train", "records"), [({}, 40), ({"epochs": 0.5}, 20), ({"max_steps": 3}, 30), ({"max_steps": 9}, 40)]
)
def test_the_records_of_all_steps(tmp_path: Path, train: dict[str, Any], records: float) -> None:
    assert trained_records(text(tmp_path, **train), 40) == records
