"""CSV as programs write it: delimiters, long cells, encodings, compressed files and Excel workbooks."""

import csv
import gzip
import json
import lzma
import sys
from pathlib import Path

import pyarrow
import pytest

from llm.i18n.translate import translated_error
from llm.rows.files import raw_rows


def rows(path: Path) -> list[object]:
    return [str(row.error) if row.error else row.value for row in raw_rows(path)]


def written(folder: Path, text: str, name: str = "a.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("frage;antwort\nWas, bitte?;Ja, 1,5\n", {"frage": "Was, bitte?", "antwort": "Ja, 1,5"}),
        ("q|a\n1|2\n", {"q": "1", "a": "2"}),
        ("q\ta\nx, y\tz\n", {"q": "x, y", "a": "z"}),
        ("sep=;\r\nq;a\r\n1;2\r\n", {"q": "1", "a": "2"}),
        ('"q, x";"a"\r\n"1";"2 ""so"", ja"\r\n', {"q, x": "1", "a": '2 "so", ja'}),
        (
            "id;question, with note;answer\n1;Why;Because\n",
            {"id": "1", "question, with note": "Why", "answer": "Because"},
        ),
        ("\ufeffq;a\n1;2\n", {"q": "1", "a": "2"}),
        ("id,text;label\n1,foo;x\n", {"id": "1", "text;label": "foo;x"}),  # even by both: a comma in .csv
        ("text\nhello; you | and\n", {"text": "hello; you | and"}),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, text: str, row: dict[str, str]) -> None:
    assert rows(written(tmp_path, text)) == [row]


def test_pandas_numbers_its_rows_in_a_column_without_a_name(tmp_path: Path) -> None:
    """`to_csv` writes them first; a nameless column elsewhere is still an error."""
    assert rows(written(tmp_path, ",q,a\n0,x,y\n")) == [{"Unnamed: 0": "0", "q": "x", "a": "y"}]
    assert "Give every column a unique name" in str(rows(written(tmp_path, "q,,a\n0,x,y\n"))[0])


def test_a_cell_may_hold_an_image(tmp_path: Path) -> None:
    long = "A" * 400_000
    before = csv.field_size_limit(131_072)  # Python's own
    try:
        assert rows(written(tmp_path, f"index\timage\n1\t{long}\n2\tB\n", "MMBench.tsv")) == [
            {"index": "1", "image": long},
            {"index": "2", "image": "B"},
        ]
    finally:
        csv.field_size_limit(before)


def test_the_first_rows_may_be_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    long = ";".join(["x" * 50_000] * 2)
    assert rows(written(tmp_path, f'q;a\n"{long}";2\n')) == [{"q": long, "a": "2"}]


@pytest.mark.parametrize(
    ("encoding", "text", "name"),
    [
        ("utf-16", "猫", "UTF-16"),
        ("utf-16-le", "猫和狗在哪里", "UTF-16"),
        ("utf-32", "猫", "UTF-32"),
        ("gbk", "猫在桌子上面睡觉，很安静", "GBK"),
        ("cp1252", "Où est le café? À côté", "Windows-1252"),
    ],
)
@pytest.mark.parametrize(
    ("file", "form"), [("a.csv", "q,a\n{},1\n"), ("a.jsonl", '{{"q": "{}"}}\n'), ("a.txt", "{}, a b c\n")]
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, text: str, name: str, file: str, form: str) -> None:
    first = str(rows(written(tmp_path, form.format(text), file, encoding))[0])
    assert "not UTF-8" in first and name in first and "Save it as UTF-8, in Excel as CSV UTF-8, or by iconv -f" in first


def test_compressed_files_are_read(tmp_path: Path) -> None:
    content = b'{"q": 1}\n{"q": 2}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content[:9]) + gzip.compress(content[9:]))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"q;a\n1;2\n"))
    with pyarrow.CompressedOutputStream(str(tmp_path / "a.json.zst"), "zstd") as file:
        file.write(b'{"data": [{"q": 1}, {"q": 2}]}')
    assert rows(tmp_path / "a.jsonl.gz") == rows(tmp_path / "a.json.zst") == [{"q": 1}, {"q": 2}]
    assert rows(tmp_path / "a.csv.gz") == [{"q": "1", "a": "2"}]


def test_files_compressed_with_xz_are_read(tmp_path: Path) -> None:
    """Of several streams with padding between them, as `xz` writes and `cat` joins them."""
    lines = [b'{"q": %d, "text": "%s"}\n' % (number, b"x" * 1000) for number in range(200)]
    first, second = lzma.compress(b"".join(lines[:90])), lzma.compress(b"".join(lines[90:]), preset=9)
    (tmp_path / "a.jsonl.xz").write_bytes(first + b"\0" * 8 + second + b"\0" * 4)
    (tmp_path / "a.csv.XZ").write_bytes(lzma.compress(b"q;a\n1;2\n"))
    assert rows(tmp_path / "a.jsonl.xz") == [json.loads(line) for line in lines]
    assert rows(tmp_path / "a.csv.XZ") == [{"q": "1", "a": "2"}]


def test_xz_that_is_cut_damaged_or_wants_memory_is_named(tmp_path: Path) -> None:
    complete = lzma.compress(b'{"q": 1}\n' * 1000)
    huge = lzma.compress(b"{}", filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 30}])
    for content, found in (
        (complete[:-20], "ends early"),
        (complete[:-40] + b"?" * 40, "damaged"),
        (huge, "128 MiB of memory"),
    ):
        (tmp_path / "a.jsonl.xz").write_bytes(content)
        last = str(rows(tmp_path / "a.jsonl.xz")[-1])
        assert "cannot be read to its end: its xz data" in last and found in last
        assert "xz 数据" in translated_error(last, "zh")


def test_a_compressed_file_that_was_cut_off(tmp_path: Path) -> None:
    lines = b"".join(b'{"q": %d}\n' % number for number in range(200_000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-1000])
    *_, last = raw_rows(tmp_path / "a.jsonl.gz")
    assert last.error is not None and "cannot be read to its end" in str(last.error)


def test_excel_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"pip install 'eyegraft\[excel\]', or save the sheet as CSV"):
        rows(written(tmp_path, "", "a.xlsx"))


def test_excel_cells_are_text(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for cells in (["question", "answer", "n"], ["Wie viele?", 3, 1.5], [None, None, None], ["Ja?", True, 2.0]):
        book.active.append(cells)
    book.create_sheet("empty")
    book.save(tmp_path / "a.xlsx")
    assert rows(tmp_path / "a.xlsx") == [
        {"question": "Wie viele?", "answer": "3", "n": "1.5"},
        {"question": "Ja?", "answer": "TRUE", "n": "2"},
    ]
    book["empty"].append(["more"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(Exception, match="has the sheets Sheet, empty. Save the one to train on as CSV"):
        rows(tmp_path / "a.xlsx")


def test_a_broken_workbook(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    assert "not a valid Excel workbook" in str(rows(written(tmp_path, "no", "a.xlsx"))[0])
