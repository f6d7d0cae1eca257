"""A JSON object of several lists is read item by item; errors have the line."""

from pathlib import Path

import pytest

from llm.errors import DataError, RecordError
from llm.rows import json_stream as json_module
from llm.rows.files import read_members

COCO = """{"info": {"year": [2017]}, "images": [
  {"id": 1, "file_name": "a.png"},
  {"id": 2, "file_name": "b.png"}
], "none": [],
"licenses": "MIT", "annotations": [{"caption": "一只猫"}, 5]}
"""


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_lists_come_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_module, "CHUNK", chunk)
    (tmp_path / "a.json").write_text(COCO, encoding="utf-8-sig")
    found = [(name, place.line, place.id, value) for name, place, value in read_members(tmp_path / "a.json")]
    assert found == [
        ("info", 1, "", {"year": [2017]}),
        ("images", 2, "1", {"id": 1, "file_name": "a.png"}),
        ("images", 3, "2", {"id": 2, "file_name": "b.png"}),
        ("licenses", 5, "", "MIT"),
        ("annotations", 5, "", {"caption": "一只猫"}),
        ("annotations", 5, "", 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "a.json:1: JSON: is not an object"),
        ("", "a.json:1: JSON: is not an object"),
        ('{"a": [1],\n}', "line 2 column 1: Expecting property name.*Remove the comma before it"),
        ('{"a" [1]}', "line 1 column 6: Expecting ':'"),
        ('{"a": [1\n', "line 2 column 1: Expecting ',' delimiter. The file or line ends inside a record"),
        ('{"a": [1]} {"a": [2]}', "Extra data"),
        ('{"a": [1 2]}', "line 1 column 10: Expecting ','"),
    ],
)
def test_invalid_members_raise(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordError, match=message):
        list(read_members(tmp_path / "a.json"))


def test_missing_files_and_files_that_are_not_utf8_raise(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_members(tmp_path / "a.json"))
    (tmp_path / "a.json").write_bytes(b'{"a":\n"\xff"}')
    with pytest.raises(RecordError, match=r"a\.json:2: encoding: not UTF-8"):
        list(read_members(tmp_path / "a.json"))
