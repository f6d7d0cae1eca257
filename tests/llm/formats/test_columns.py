"""Columns that a recipe maps itself, and rows marked as unanswered."""

import logging
from pathlib import Path

import pytest

from llm.errors import ConfigError
from llm.formats.conversation import ImageRef, Message
from llm.formats.readers import source_format
from tests.llm.rows import ONE, Json, bot, messages, refusal, source, system, user


def test_columns_of_the_recipe(tmp_path: Path) -> None:
    row: Json = {"s": "S", "q": "Q", "a": "A", "pic": "a.png", "t": "text"}
    shown = row
    row = {key: value for key, value in shown.items() if key != "pic"}
    a = ImageRef(str(tmp_path / "a.png"))
    cases: list[tuple[Json, dict[str, str], tuple[Message, ...]]] = [
        (row, {"system": "s", "input": "q", "output": "a"}, (system("S"), user("Q"), bot("A"))),
        (shown, {"input": "q", "output": "a", "image": "pic"}, (user(a, "Q"), bot("A"))),
        (shown, {"output": "a", "image": "pic"}, (user(a), bot("A"))),
        (shown | {"q": "Q <image>"}, {"input": "q", "output": "a", "image": "pic"}, (user("Q ", a), bot("A"))),
        (row | {"q": "Q <image>"}, {"input": "q", "output": "a"}, (user("Q <image>"), bot("A"))),
        (row | {"pic": None}, {"input": "q", "output": "a", "image": "pic"}, ONE),
        (row, {"text": "t"}, (bot("text"),)),
    ]
    for changed, columns, meaning in cases:
        assert messages(tmp_path, changed, columns=columns) == [meaning]
        assert messages(tmp_path, changed, columns=columns, format="columns") == [meaning]


def test_a_column_of_images_that_is_not_mapped_raises(tmp_path: Path) -> None:
    row: Json = {"q": "Q", "a": "A", "pic": "a.png"}
    mapping = {"input": "q", "output": "a"}
    assert "pic: holds an image, which format columns does not read" in refusal(tmp_path, row, columns=mapping)
    other = row | {"depth": "d.png"}
    assert messages(tmp_path, other, columns=mapping | {"image": "pic"}) == [
        (user(ImageRef(str(tmp_path / "a.png")), "Q"), bot("A"))
    ], "a recipe that maps an image chooses among several"


def test_invalid_column_values_raise(tmp_path: Path) -> None:
    row = {"q": "<image><image>", "a": "A", "pic": "a.png"}
    mapping = {"input": "q", "output": "a", "image": "pic"}
    assert "2 <image> placeholders but 1 image" in refusal(tmp_path, row, columns=mapping)
    for role in mapping:  # optional ones too: a misspelt image column would train on questions without images
        with pytest.raises(ConfigError, match=f"columns: {role}: there is no column gone. The data has q, a, pic"):
            refusal(tmp_path, row, columns=mapping | {role: "gone"})


@pytest.mark.parametrize(
    ("columns", "form", "message"),
    [
        ({}, "columns", "needs `columns`"),
        ({"question": "q", "output": "a"}, "auto", "question: unknown role"),
        ({"input": "q"}, "auto", "map output with input"),
        ({"output": "a"}, "auto", "map output with input"),
        ({"text": "t", "image": "i"}, "auto", "text excludes the other roles"),
        ({"input": "q", "output": "a"}, "alpaca", "columns need format: columns, not alpaca"),
    ],
)
def test_invalid_column_mappings_raise(tmp_path: Path, columns: Json, form: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source_format(source(tmp_path, {}, columns=columns, format=form), tmp_path)


def test_rows_marked_as_unanswered_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marked = {"instruction": "I", "input": "", "output": "<nooutput>"}
    answered = {"instruction": "I", "input": "Q", "output": "A"}
    with caplog.at_level(logging.WARNING):
        assert messages(tmp_path, marked, answered, marked) == [(user("I\nQ"), bot("A"))]
    assert "left out 2 rows marked as unanswered" in caplog.text and "rows.jsonl:1" in caplog.text
