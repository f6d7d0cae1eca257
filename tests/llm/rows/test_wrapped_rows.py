"""JSON files with their records in lists of one object: which are read, which are left out and reported."""

import json
from pathlib import Path

import pytest

from llm.errors import DataError
from llm.rows.files import raw_rows, read_rows

A, B, C = ({"question": name, "answer": "yes"} for name in "abc")
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def read(
    folder: Path, value: object, split: str = "train", indent: int | None = None
) -> tuple[list[object], list[str]]:
    """The rows of a file that holds `value`, and what was reported, without the path."""
    path = folder / "a.json"
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    unread: list[str] = []
    rows = [row.error or row.value for row in raw_rows(path, split, unread.append)]
    return rows, [line.removeprefix(f"{path}: ") for line in unread]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "rows", "unread"),
    [
        ({"data": [A, B]}, [A, B], []),
        ({"version": "1.1", "Records": [A]}, [A], []),
        ({"samples": [A], "image_root": "photos"}, [A], ["reads samples; not read: image_root"]),
        ({"train": [A], "test": [B, C]}, [A], ["reads train; not read: test (2)"]),
        ({"validation": [C], "training": [A]}, [A], ["reads training; not read: validation (1)"]),
        ({"data": {"train": [A], "val": [B]}}, [A], ["reads train; not read: val (1)"]),
        ({"data": [TURNS, TURNS]}, [TURNS, TURNS], []),
        ({"annotations": [{"image": "a.png", "caption": "x"}]}, [{"image": "a.png", "caption": "x"}], []),
        (
            {"features": [{"name": "q"}], "rows": [{"row_idx": 0, "row": A}]},
            [A],
            ["reads rows; not read: features (1)"],
        ),
        ({"data": []}, [], []),
    ],
)
def test_lists_of_records_are_read(
    tmp_path: Path, value: object, rows: list[object], unread: list[str], indent: int | None
) -> None:
    assert read(tmp_path, value, indent=indent) == (rows, unread)


@pytest.mark.parametrize(
    "value",
    [
        {"messages": TURNS},
        {"id": "1", "results": [{"score": 1}], "messages": TURNS},
        {"instruction": "x", "output": "y", "examples": [A]},
        {"data": TURNS},
        {"annotations": [{"image_id": 1, "caption": "c"}], "images": [{"id": 1}]},
        {"questions": [{"image_id": 1, "question": "q", "question_id": 2}]},
        {"data": [["a", 1]], "columns": ["q", "n"]},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_record_and_tables_to_join_stay_one_row(tmp_path: Path, value: object, indent: int | None) -> None:
    assert read(tmp_path, value, indent=indent) == ([value], [])


@pytest.mark.parametrize(("split", "row"), [("test", B), ("dev", C), ("validation", C)])
def test_split_chooses_the_list(tmp_path: Path, split: str, row: object) -> None:
    rows, _ = read(tmp_path, {"train": [A], "test": [B], "dev": [C]}, split)
    assert rows == [row]


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split train\. Choose one that is there: split: dev or test"):
        read(tmp_path, {"test": [A], "dev": [B]})


def test_reading_continues_after_a_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"data": [\n{"question": "a"},\n{"question": "b",},\n{"question": "c"}]}\n')
    found = list(raw_rows(path))
    assert [row.value for row in found] == [{"question": "a"}, None, {"question": "c"}]
    assert found[1].error is not None and found[1].error.place.line == 3


def test_a_file_that_ends_early_has_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"data": [{"question": "a"},\n {"question": "b"')
    errors = [row.error for row in raw_rows(tmp_path / "a.json") if row.error]
    assert len(errors) == 1 and errors[0].code == "json-cut"


def test_lines_that_hold_lists_are_not_one_object(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"data": [{"question": "a"}]}\n{"data": []}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2.*one record a line"):
        list(read_rows(tmp_path / "a.jsonl"))


def test_the_list_is_not_held_in_memory(tmp_path: Path) -> None:
    """The first record comes before the end of a file that is broken there."""
    (tmp_path / "a.json").write_text('{"data": [' + json.dumps(A) + "," + " " * (3 << 20) + "]")
    assert next(raw_rows(tmp_path / "a.json")).value == A
