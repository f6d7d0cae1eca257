"""Renaming reaches every text of a file and nothing else."""

import json
from pathlib import Path

import pytest

from data_tools.rename import rename
from llm.errors import ConfigError, DataError, RecordError, RunError

ROWS = [
    {
        "id": "Ann-1",
        "image": "Ann/1.png",
        "system": "You are Ann.",
        "messages": [
            {"role": "user", "content": "Ann? Anna? ann? I'm asking Ann."},
            {"role": "assistant", "content": "Yes, Ann's here (Ann). Joann, Ann2 and An n are not."},
        ],
        "Ann": 3,
    },
    {"id": "2", "conversations": [{"from": "gpt", "value": "我是Ann助手，Ann！"}]},
]


def write_json(path: Path) -> Path:
    path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    return path


def test_every_text_field_is_renamed_and_counted(tmp_path: Path) -> None:
    source, out = write_json(tmp_path / "a.json"), tmp_path / "new" / "b.json"
    counts = rename("Ann", r"Bo \1", source, out)
    assert counts == {"system": 1, "messages.content": 4, "conversations.value": 2}
    first, second = json.loads(out.read_text(encoding="utf-8"))
    assert (first["id"], first["image"], first["Ann"]) == ("Ann-1", "Ann/1.png", 3)
    assert first["system"] == r"You are Bo \1."
    assert first["messages"][0]["content"] == r"Bo \1? Anna? ann? I'm asking Bo \1."
    assert first["messages"][1]["content"] == r"Yes, Bo \1's here (Bo \1). Joann, Ann2 and An n are not."
    assert second["conversations"][0]["value"] == r"我是Bo \1助手，Bo \1！"
    assert json.loads(source.read_text(encoding="utf-8")) == ROWS


def test_chinese_names_have_no_word_ends(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"output": "我是小睛助手"}\n\n{"output": "小睛，小睛睛"}\n', encoding="utf-8")
    assert rename("小睛", "阿明", source, source) == {"output": 3}  # in place
    assert source.read_text(encoding="utf-8") == '{"output": "我是阿明助手"}\n{"output": "阿明，阿明睛"}\n'


def test_a_name_that_is_not_there_counts_nothing(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    assert rename("Zed", "Bo", write_json(tmp_path / "a.json"), out) == {}
    assert json.loads(out.read_text(encoding="utf-8")) == ROWS


def test_mistakes_are_named(tmp_path: Path) -> None:
    good, broken, lines = write_json(tmp_path / "a.json"), tmp_path / "x.json", tmp_path / "x.jsonl"
    broken.write_text('[\n{"a": "Ann"},\n{"a": }\n]')
    lines.write_text('{"a": 1}\n\n{"a"\n')
    with pytest.raises(ConfigError, match="old name is empty"):
        rename(" ", "Bo", good, tmp_path / "b.json")
    with pytest.raises(DataError, match="unreadable"):
        rename("Ann", "Bo", tmp_path / "none.json", tmp_path / "b.json")
    with pytest.raises(RecordError, match=r"x\.json:3: JSON"):
        rename("Ann", "Bo", broken, tmp_path / "b.json")
    with pytest.raises(RecordError, match=r"x\.jsonl:3: JSON"):
        rename("Ann", "Bo", lines, tmp_path / "b.json")
    with pytest.raises(RunError, match="writable"):
        rename("Ann", "Bo", good, good / "b.json")
    assert not (tmp_path / "b.json").exists()
