"""A name is replaced in every text of a file and nowhere else."""

import json
import re
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from data_tools.edit.rename import RenameResult, _words_with, rename
from llm.errors import ConfigError, DataError, RecordError, RunError
from llm.rows import json_stream

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
    done = rename("Ann", r"Bo \1", source, out)
    assert done == RenameResult({"system": 1, "messages.content": 4, "conversations.value": 2}, rows=2, changed=2)
    assert done.other_spellings == {"Anna": 1, "ann": 1, "Joann": 1, "Ann2": 1}
    first, second = json.loads(out.read_text(encoding="utf-8"))
    assert (first["id"], first["image"], first["Ann"]) == ("Ann-1", "Ann/1.png", 3)
    assert first["system"] == r"You are Bo \1."
    assert first["messages"][0]["content"] == r"Bo \1? Anna? ann? I'm asking Bo \1."
    assert first["messages"][1]["content"] == r"Yes, Bo \1's here (Bo \1). Joann, Ann2 and An n are not."
    assert second["conversations"][0]["value"] == r"我是Bo \1助手，Bo \1！"
    assert json.loads(source.read_text(encoding="utf-8")) == ROWS


def test_roles_and_paths_of_message_parts_are_unchanged(tmp_path: Path) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "user/1.png"}}, {"type": "text", "text": "user?"}]
    row: dict[str, object] = {
        "question_id": "user",
        "file_name": "user",
        "messages": [{"role": "user", "content": parts}],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert rename("user", "Bo", tmp_path / "a.jsonl", tmp_path / "b.jsonl").fields == {"messages.content.text": 1}
    row["messages"] = [{"role": "user", "content": [parts[0], {"type": "text", "text": "Bo?"}]}]
    assert json.loads((tmp_path / "b.jsonl").read_text()) == row


def test_lines_without_the_name_and_all_line_ends_are_unchanged(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    kept = rb'{"output":  "\u5c0f\u660e, \ud83d", "n": 1.50, "m": 1e5, "m": 1e5}'
    source.write_bytes(
        "\ufeff".encode() + kept + b"\r\n\r\n" + '{"output": "我是小睛助手"}\r\n{"output": "小睛，小睛睛"}'.encode()
    )
    assert rename("小睛", "阿明", source, out) == RenameResult({"output": 3}, rows=3, changed=2)
    assert out.read_bytes() == kept + b"\r\n\r\n" + '{"output": "我是阿明助手"}\r\n{"output": "阿明，阿明睛"}'.encode()


def test_one_object_and_a_list_of_questions(tmp_path: Path) -> None:
    for name, content, expected, fields in (
        ("object", '{\n "text":\n "Ann"}', '{\n "text": "Bo"\n}\n', {"text": 1}),
        ("list", '["Who is Ann?",\n\n"你"]', '[\n"Who is Bo?",\n"你"\n]\n', {"text": 1}),
    ):
        (tmp_path / f"{name}.json").write_text(content)
        assert rename("Ann", "Bo", tmp_path / f"{name}.json", tmp_path / "out.json").fields == fields
        assert (tmp_path / "out.json").read_text() == expected


def test_parquet_keeps_its_columns_and_images(tmp_path: Path) -> None:
    picture = {"bytes": b"\x89Ann\xff", "path": "Ann.png"}
    rows = [{"id": f"Ann{n}", "text": f"我是Ann {n}", "images": [picture], "n": n, "size": 0.5} for n in range(150)]
    schema = pyarrow.Table.from_pylist(rows).schema
    schema = schema.set(3, pyarrow.field("n", pyarrow.int16())).with_metadata({"huggingface": "features"})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), tmp_path / "a.parquet")
    done = rename("Ann", "小明", tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert done == RenameResult({"text": 150}, rows=150, changed=150)
    table = pyarrow.parquet.read_table(tmp_path / "b.parquet")
    assert table.schema.equals(pyarrow.parquet.read_schema(tmp_path / "a.parquet"), check_metadata=True)
    assert table.schema.field("n").type == pyarrow.int16()
    assert table.schema.metadata[b"huggingface"] == b"features"
    assert table.to_pylist() == [row | {"text": f"我是小明 {row['n']}"} for row in rows]


@pytest.mark.parametrize(("suffix", "tab"), [(".csv", ","), (".tsv", "\t")])
def test_csv_keeps_its_columns_and_quotes(tmp_path: Path, suffix: str, tab: str) -> None:
    source, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    source.write_text(f'id{tab}Ann\nAnn{tab}"我是 Ann{tab} ""Ann""\nok"\n', encoding="utf-8")
    assert rename("Ann", "Bo", source, out).fields == {"Ann": 2}
    assert out.read_text(encoding="utf-8") == f'id{tab}Ann\nAnn{tab}"我是 Bo{tab} ""Bo""\nok"\n'


def test_words_that_hold_the_name_are_those_of_a_pattern() -> None:
    text = "Ann Anna, xann_1-Ann安Ann AnnAnn 'ANN' an n\nann. Ann-Ann"
    for old in ("Ann", "-Ann", "Ann-", "n\na"):
        name = re.escape(old)
        found = list(_words_with(re.compile(name, re.IGNORECASE), text))
        assert found == re.findall(rf"\w*{name}\w*", text, re.IGNORECASE), old


def test_a_text_without_blanks_takes_linear_time(tmp_path: Path) -> None:
    """An hour and more where every place in it is the start of a word that is searched for the name."""
    text = "安" * 1_000_000 + "Ann"
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n")
    assert rename("Ann", "Bo", tmp_path / "a.jsonl", tmp_path / "b.jsonl").changed == 1


def test_a_large_file_is_renamed_record_by_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 MB of records, read 64 KiB at a time: a fifth of a megabyte in memory, a third for an array."""
    monkeypatch.setattr(json_stream, "CHUNK", 1 << 16)
    row = json.dumps({"messages": [{"role": "user", "content": "Ann " + "x" * 990}]})
    for name, content in (("a.jsonl", f"{row}\n" * 2000), ("a.json", f"[{','.join([row] * 2000)}]")):
        (tmp_path / name).write_text(content)
        del content
        tracemalloc.start()
        done = rename("Ann", "Bo", tmp_path / name, tmp_path / f"b{name}")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert done.changed == 2000
        assert peak < 700_000, f"{peak:,} bytes for {name}"


def test_refusals(tmp_path: Path) -> None:
    good, broken, lines = write_json(tmp_path / "a.json"), tmp_path / "x.json", tmp_path / "x.jsonl"
    broken.write_text('[\n{"a": "Ann"},\n{"a": }\n]')
    lines.write_text('{"a": 1}\n\n{"a"\n')
    (tmp_path / "bytes.jsonl").write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    (tmp_path / "a.txt").write_text("Ann")
    with pytest.raises(ConfigError, match="old name is empty"):
        rename(" ", "Bo", good, tmp_path / "b.json")
    with pytest.raises(DataError, match="no such file"):
        rename("Ann", "Bo", tmp_path / "none.json", tmp_path / "b.json")
    with pytest.raises(RecordError, match=r"x\.json:3: JSON"):
        rename("Ann", "Bo", broken, tmp_path / "b.json")
    with pytest.raises(RecordError, match=r"x\.jsonl:3: JSON"):
        rename("Ann", "Bo", lines, tmp_path / "b.jsonl")
    with pytest.raises(RecordError, match=r"bytes\.jsonl:2: encoding"):
        rename("Ann", "Bo", tmp_path / "bytes.jsonl", tmp_path / "b.jsonl")
    with pytest.raises(ConfigError, match="never written over"):
        rename("Ann", "Bo", good, tmp_path / "." / "a.json")
    with pytest.raises(ConfigError, match=r"another suffix than the input, \.json"):
        rename("Ann", "Bo", good, tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match="plain text"):
        rename("Ann", "Bo", tmp_path / "a.txt", tmp_path / "b.txt")
    with pytest.raises(ConfigError, match="is a folder"):
        rename("Ann", "Bo", tmp_path, tmp_path / "b.json")
    with pytest.raises(RunError, match="writable"):
        rename("Ann", "Bo", good, good / "b.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.txt", "bytes.jsonl", "x.json", "x.jsonl"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_a_name_that_is_in_no_text_is_an_error_and_writes_nothing(tmp_path: Path, name: str) -> None:
    texts = {"a.json": '[{"text": "Eyegraft and eyegrafts"}]', "a.csv": "text\nEyegraft and eyegrafts\n"}
    (tmp_path / name).write_text(texts.get(name, '{"text": "Eyegraft and eyegrafts"}\n'))
    with pytest.raises(RunError, match=r"no text has the name eyegraft; there is Eyegraft \(1\), eyegrafts \(1\)\."):
        rename("eyegraft", "Iris", tmp_path / name, tmp_path / f"b.{name[2:]}")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_of_one_object_keeps_its_form(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "Ann 1", "train": [{"text": "Ann"}], "test": [{"text": "Ann?"}]}')
    assert rename("Ann", "Bo", tmp_path / "a.json", tmp_path / "b.json").changed == 1
    value = {"version": "Bo 1", "train": [{"text": "Bo"}], "test": [{"text": "Bo?"}]}
    assert json.loads((tmp_path / "b.json").read_text()) == value
