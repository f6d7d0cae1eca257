"""Rows are read with the line they start on; errors of a file have place and advice."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.errors import DataError, Place, RecordError
from llm.records.record import Record
from llm.rows import json_stream as json_module
from llm.rows.files import data_files, read_rows
from llm.rows.json_rows import json_rows
from llm.rows.json_stream import JsonStream
from llm.rows.parquet_rows import PARQUET_BATCH


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def rows(path: Path) -> list[tuple[int, object]]:
    return [(place.line, row) for place, row in read_rows(path)]


ARRAY = """
[
  {"a": 1, "text": "x\\ny"}, {"a": 2},

  {
    "a": [3,
          4]
  },
  {"a": 5}
]
"""
ARRAY_ROWS = [(3, {"a": 1, "text": "x\ny"}), (3, {"a": 2}), (5, {"a": [3, 4]}), (9, {"a": 5})]


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("change", [lambda t: t, lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_array_rows_have_the_line_they_start_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    change: Callable[[str], str],
    name: str,
) -> None:
    monkeypatch.setattr(json_module, "CHUNK", chunk)
    assert rows(write(tmp_path, name, change(ARRAY))) == ARRAY_ROWS


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
def test_jsonl_is_recognised_whatever_the_suffix(tmp_path: Path, name: str) -> None:
    assert rows(write(tmp_path, name, '\n{"a": 1}\n\n  \n{"a": 2}')) == [(2, {"a": 1}), (5, {"a": 2})]


def test_records_over_several_lines_without_an_array(tmp_path: Path) -> None:
    text = '{\n  "a": 1\n}\n{\n  "a": 2\n}\n'
    assert rows(write(tmp_path, "a.json", text)) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize("text", ["", "  \n", "[]", "[ \n ]\n"])
def test_an_empty_file_has_no_rows(tmp_path: Path, text: str) -> None:
    assert rows(write(tmp_path, "a.json", text)) == []


def test_numbers_across_chunks_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_module, "CHUNK", 1)
    assert rows(write(tmp_path, "a.json", "[123, -4.5e2, true]")) == [(1, 123), (1, -450.0), (1, True)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON, max_size=4), st.sampled_from([None, 0, 2]), st.integers(1, 40), st.booleans())
def test_any_array_reads_as_json_loads_reads_it(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], indent: int | None, chunk: int, ascii_only: bool
) -> None:
    path = write(tmp_path_factory.getbasetemp(), "any.json", json.dumps(values, indent=indent, ensure_ascii=ascii_only))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_module, "CHUNK", chunk)
        found = list(json_rows(path))
    assert [value for _, value in found] == values
    if indent is not None:  # elements follow each other line by line, so their lengths give their lines
        lines, at = [], 2
        for value in values:
            lines.append(at)
            at += json.dumps(value, indent=indent).count("\n") + 1
        assert [line for line, _ in found] == lines


BROKEN = {
    "trailing comma in an object": ('[\n {"a": 1},\n {"a": 2,}\n]', 3, "line 3 column 10", "Remove the comma"),
    "trailing comma in the array": ('[\n {"a": 1},\n]', 3, "line 3 column 1", "Remove the comma"),
    "single quotes": ("[{'a': 1}]", 1, "line 1 column 3", "double quotes"),
    "missing comma": ('[{"a": 1}\n {"a": 2}]', 2, "line 2 column 2", "comma is missing"),
    "bare quote": ('[\n{"a": "say "hi""}]', 2, "line 2 column 13", 'written as \\"'),
    "python literal": ('[{"a": True}]', 1, "line 1 column 8", "true, false and null"),
    "comment": ('[\n// mine\n{"a": 1}]', 2, "line 2 column 1", "no comments"),
    "backslash": ('{"a": "C:\\data"}\n', 1, "line 1 column 10", "\\\\"),
    "line break in a string": ('[{"a": "x\ny"}]', 1, "line 1 column 10", "as \\n"),
    "cut off": ('[{"a": 1}, {"b": [1, 2', 1, "line 1 column 23", "cut off"),
    "cut off in a string": ('[{"a": 1},\n{"b": "hal', 2, "line 2 column 7", "cut off"),
    "never closed": ('[\n{"a": 1}\n', 3, "line 3 column 1", "cut off"),
    "text after the array": ('[{"a": 1}]\n{"a": 2}', 2, "line 2 column 1", "in one array"),
    "two records in a line": ('{"a": 1} {"a": 2}\n', 1, "line 1 column 10", "one record a line"),
    "deep in the record": ('[{\n"a": 1,\n"b": tru\n}]', 1, "line 3 column 6", "Correct the JSON"),
    "second line of JSONL": ('{"a": 1}\n{"a": 2,}\n{"a": 3}', 2, "line 2 column 9", "Remove the comma"),
    "first line of JSONL": ('{"a": 1,}\n{"a": 2}', 1, "line 1 column 9", "Remove the comma"),
    "no JSON at all": ("id,name\n1,x\n", 1, "line 1 column 1", "Correct the JSON"),
}


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize("case", BROKEN)
def test_invalid_json_raises_with_place_and_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, chunk: int
) -> None:
    monkeypatch.setattr(json_module, "CHUNK", chunk)
    text, line, where, advice = BROKEN[case]
    path = write(tmp_path, "a.json", text)
    with pytest.raises(RecordError) as caught:
        list(read_rows(path))
    assert caught.value.place == Place(str(path), line)
    assert where in caught.value.found
    if not (case == "trailing comma in the array" and chunk == 3):  # the comma may have left the buffer
        assert advice in caught.value.advice


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("text", ['[\n{"a": #}]', '\n{"a": #}', '\n{\n"a": #}'])
def test_nan_and_infinity_raise(tmp_path: Path, text: str, number: str) -> None:
    with pytest.raises(RecordError, match=number) as caught:
        list(read_rows(write(tmp_path, "a.json", text.replace("#", number))))
    assert caught.value.place.line == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": 2, "a": 3}',
        '[{"c": [{"a": "x", "a": "y"}]}]',
        '{"c": 1}\n{"a": null, "a": [1]}',
        '{\n "a": 1,\n "a": 2\n}',
    ],
)
def test_a_key_with_two_values_is_an_error(tmp_path: Path, text: str) -> None:
    """Python's parser would keep the last without a word; the same value twice loses nothing."""
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(RecordError, match=r"key 'a' is given twice, with two values\. Keep one"):
        list(json_rows(file))
    file.write_text('{"a": 1, "a": 1}')
    assert [value for _, value in json_rows(file)] == [{"a": 1}]


@pytest.mark.parametrize("opening", ["[", ""])
def test_deep_nesting_raises(tmp_path: Path, opening: str) -> None:
    path = write(tmp_path, "a.json", opening + '{"a":' + "[" * 100_000)
    with pytest.raises(RecordError, match="nested too deeply"):
        list(read_rows(path))


class _Counting(io.StringIO):
    reads = 0

    def read(self, size: int | None = -1) -> str:
        self.reads += 1
        return super().read(size)


def test_an_error_at_the_start_does_not_read_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_module, "CHUNK", 100)
    file = _Counting('{"a": 1,}' + " " * 100_000)
    with pytest.raises(RecordError):
        JsonStream("a", file).value()
    assert 0 < file.tell() < 1000


def test_a_long_record_takes_few_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_module, "CHUNK", 100)
    file = _Counting(json.dumps("x" * 1_000_000))
    assert JsonStream("a", file).value() == "x" * 1_000_000
    assert file.reads < 25  # 100 * 2^14 > a million


def test_a_byte_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"a": "é"}\n'.encode() + b'{"a": "\xe9"}\n')
    with pytest.raises(RecordError, match="not UTF-8") as caught:
        list(read_rows(path))
    assert caught.value.place.line == 2


def test_a_place_has_the_id_of_the_record(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": "x1"}\n{"id": 0}\n{"id": null}\n[1]')
    assert [place.id for place, _ in read_rows(path)] == ["x1", "0", "", ""]


def test_parquet_rows_with_bytes_over_several_batches(tmp_path: Path) -> None:
    count = PARQUET_BATCH + 3
    table = [{"image": {"bytes": bytes([index]), "path": None}, "n": index} for index in range(count)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "a.parquet")
    found = list(read_rows(tmp_path / "a.parquet"))
    assert [row for _, row in found] == table
    assert found[-1][0] == Place(str(tmp_path / "a.parquet"), id=f"row {count}")


def test_a_file_that_is_not_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a valid parquet file"):
        list(read_rows(write(tmp_path, "a.parquet", "no")))


def test_csv_rows_have_the_line_they_start_on(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", '\ufeffq,a\n"one\ntwo",1\n\nthree,"x, y"\n')
    assert rows(path) == [(2, {"q": "one\ntwo", "a": "1"}), (5, {"q": "three", "a": "x, y"})]
    assert rows(write(tmp_path, "a.tsv", "q\ta\n1,2\t3\n")) == [(2, {"q": "1,2", "a": "3"})]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [("q,a\n1,2\n1,2,3\n", 3, "3 cells under 2"), ("q,q\n1,2\n", 1, "q, q"), ('q,a\n"1"x,2\n', 2, "expected after")],
)
def test_invalid_csv_raises(tmp_path: Path, text: str, line: int, found: str) -> None:
    with pytest.raises(RecordError, match=found) as caught:
        list(read_rows(write(tmp_path, "a.csv", text)))
    assert caught.value.place.line == line


def test_text_files_in_a_folder_of_records_are_skipped(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "sub/c.json", ".hidden.json", ".git/d.json"):
        write(tmp_path, name, '{"a": 1}')
    write(tmp_path, "README.md", "about")
    write(tmp_path, "pictures/x.png", "no data")
    assert data_files(tmp_path) == [tmp_path / name for name in ("a.jsonl", "b.json", "sub/c.json")]
    assert [place.file for place, _ in read_rows(tmp_path)] == list(map(str, data_files(tmp_path)))


def test_a_folder_of_text_is_one_row_a_file(tmp_path: Path) -> None:
    write(tmp_path, "book.txt", "\ufeffOnce\r\nupon")
    write(tmp_path, "code/a.py", "x = 1\n")
    write(tmp_path, "code/__init__.py", "")
    assert [row for _, row in read_rows(tmp_path)] == [{"text": "Once\nupon"}, {"text": "x = 1\n"}]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no data file"),
        ("a.xls", "Save it as CSV"),
        ("a.zip", "Unpack it"),
        ("a.bin", "this type"),
        ("gone.json", "no such"),
    ],
)
def test_unreadable_paths_raise(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "none").mkdir()
    for name_there in ("a.xls", "a.zip", "a.bin"):
        write(tmp_path, name_there, "")
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


def test_errors_have_the_complete_path_of_a_field() -> None:
    record = Record(Place("a.json", 3), {"turns": [{"value": 5}], "flag": "true"}, "llava")
    with pytest.raises(RecordError, match=r"a\.json:3: turns\[0\]\.value: is a number, not text\. .*read as llava"):
        record.parts("turns")[0].text("value")
    with pytest.raises(RecordError, match="flag: is text, not true or false"):
        record.flag("flag", True)
    with pytest.raises(RecordError, match="gone: is missing"):
        record.text("gone")
    assert record.optional("gone") == "" and record.flag("gone", False) is False


TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_turns_is_one_conversation(tmp_path: Path, indent: int | None) -> None:
    path = write(tmp_path, "a.json", json.dumps(TURNS, indent=indent))
    assert [row for _, row in rows(path)] == [TURNS]
    records = [{"messages": TURNS}, *TURNS]
    assert [row for _, row in rows(write(tmp_path, "b.json", json.dumps(records, indent=indent)))] == records


def test_a_comma_at_the_end_of_a_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="Remove the comma at the end of the line"):
        rows(write(tmp_path, "a.jsonl", '{"a": 1},\n{"a": 2}\n'))
