"""A recipe's data is checked with its tokenizer, template and length limit, and for leaks into validation."""

import json
from pathlib import Path

import pytest
import yaml

from data_tools.check.recipe_check import check_recipe
from data_tools.check.rules import CheckRules
from llm.errors import ConfigError
from tests.data_tools.damage import chat_record, image_bytes, image_record
from tests.llm.conftest import save_llama


def lines(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recipe(folder: Path, llm: str, train: str, held: str = "", **data: object) -> str:
    sources = {"sources": [{"path": train}], "validation_sources": [{"path": held}] if held else []}
    document = {"name": "small", "model": {"llm": llm}, "data": sources | data}
    (folder / "run.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(folder / "run.yaml")


def test_lengths_tokens_and_leaks(tmp_path: Path) -> None:
    llm = str(save_llama(tmp_path / "llm"))
    short, long = ("human", "Q"), ("human", "你好 " * 60)
    train = lines(
        tmp_path / "train.jsonl",
        chat_record(1, short, ("gpt", "A1")),
        chat_record(2, long, ("gpt", "A2")),
        chat_record(3, short, ("gpt", "<think>A3")),  # a token of this tokenizer alone
        chat_record(4, short, ("gpt", "A4")),
    )
    held = lines(tmp_path / "held.jsonl", chat_record(9, short, ("gpt", "A4")), chat_record(10, short, ("gpt", "A5")))
    report = check_recipe(recipe(tmp_path, llm, train, held, max_length=100), CheckRules())
    assert report.counts == {"token-literal": 1, "too-long": 1, "row-leak": 1} and report.rows == 6
    found = {finding.code: (Path(finding.place.file).name, finding.row) for finding in report.findings}
    assert found == {"too-long": ("train.jsonl", 2), "token-literal": ("train.jsonl", 3), "row-leak": ("held.jsonl", 1)}
    assert check_recipe(recipe(tmp_path, llm, train, max_length=2000), CheckRules()).counts == {"token-literal": 1}
    tight = check_recipe(recipe(tmp_path, llm, train, max_length=2000, system="S" * 9000), CheckRules())
    assert tight.counts["too-long"] == 4, "the recipe's own system prompt counts"


def test_images_in_training_and_validation_under_any_name(tmp_path: Path) -> None:
    for name in ("a.png", "copy.png", "b.png"):
        (tmp_path / name).write_bytes(image_bytes(size=(9, 9) if name == "b.png" else (8, 6)))
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    train = lines(tmp_path / "train.jsonl", image_record(1, "a.png"))
    rows = [image_record(2, "b.png"), image_record(3, "copy.png"), image_record(4, "a.png"), image_record(5, "a.png")]
    report = check_recipe(recipe(tmp_path, "no-model", train, lines(tmp_path / "held.jsonl", *rows)), CheckRules())
    assert report.counts == {"image-leak": 2} and [finding.row for finding in report.findings] == [2, 3]
    (note,) = report.notes
    assert note.startswith("small: lengths and special tokens not checked") and "no-model" in note


def test_a_recipe_without_data(tmp_path: Path) -> None:
    path = tmp_path / "export.yaml"
    path.write_text("name: x\nout: y\nstage: export\nrun: z\n")
    with pytest.raises(ConfigError, match="reads no data"):
        check_recipe(str(path), CheckRules())
