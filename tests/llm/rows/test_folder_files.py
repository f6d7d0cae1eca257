"""Folders with splits, as `datasets` saves them, as the hub has them and as people name files."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from llm.errors import DataError, RecordError
from llm.i18n.translate import translated_error
from llm.rows.files import data_files, raw_rows, read_rows
from llm.rows.split_names import split_of

Make = Callable[[Path, str], None]


def lines(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"text": text}) + "\n")


def parquet(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": text}]), path)


def saved(folder: Path, text: str) -> None:
    """What `Dataset.save_to_disk` writes, and a file that `map` cached there later."""
    folder.mkdir(parents=True)
    for name, content in (("data-00000-of-00001.arrow", text), ("cache-fe12.arrow", "cached")):
        table = pyarrow.Table.from_pylist([{"text": content}])
        with pyarrow.ipc.new_stream(str(folder / name), table.schema) as file:
            file.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": null}')
    (folder / "dataset_info.json").write_text('{"features": {"text": {"dtype": "string", "_type": "Value"}}}')


def texts(path: Path, split: str = "train") -> list[object]:
    return [row["text"] for _, row in read_rows(path, split) if isinstance(row, dict)]


def unread(path: Path, split: str = "train") -> str:
    found: list[str] = []
    list(raw_rows(path, split, found.append))
    return "".join(found).removeprefix(f"{path}: ")


def test_a_saved_dataset(tmp_path: Path) -> None:
    saved(tmp_path / "one", "a")
    assert texts(tmp_path / "one") == ["a"] and unread(tmp_path / "one") == ""


def test_a_saved_dataset_of_splits(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test", "gold"]}')
    for name in ("train", "test", "gold"):
        saved(tmp_path / name, name)
    assert texts(tmp_path) == ["train"] and texts(tmp_path, "gold") == ["gold"]
    assert unread(tmp_path) == "reads the split train; not read: test (1 file), gold (1 file)"


def test_a_clone_of_a_hub_data_set(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        parquet(tmp_path / "data" / f"{name}.parquet", name)
    (tmp_path / "README.md").write_text("# no front matter\n")
    assert texts(tmp_path) == ["train-00000-of-00002", "train-00001-of-00002"]
    assert texts(tmp_path, "test") == ["test-00000-of-00001"]
    assert unread(tmp_path) == "reads the split train; not read: test (1 file)"
    with pytest.raises(DataError, match=r"has no split validation\. .*split: test or train"):
        texts(tmp_path, "validation")


CARD = """---
license: mit
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train_sft-*
  - split: test
    path: ["data/test_sft-*", "../secret.parquet"]
---
# A data set
"""


def test_the_card_of_a_clone_names_its_splits(tmp_path: Path) -> None:
    for name in ("train_sft", "test_sft", "train_gen"):
        parquet(tmp_path / "set" / "data" / f"{name}-00000-of-00001.parquet", name)
    parquet(tmp_path / "secret.parquet", "outside")
    with pytest.raises(DataError, match="split: test_sft or train_gen or train_sft"):
        texts(tmp_path / "set")
    (tmp_path / "set" / "README.md").write_text(CARD)
    assert texts(tmp_path / "set") == ["train_sft"] and texts(tmp_path / "set", "test") == ["test_sft"]


def test_subsets_of_a_card(tmp_path: Path) -> None:
    for name in ("en", "zh"):
        parquet(tmp_path / name / "train-00000-of-00001.parquet", name)
    entry = "- config_name: {0}\n  data_files: {0}/train-*\n".format
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{entry('en')}{entry('zh')}---\n")
    with pytest.raises(DataError, match=f"has the subsets en, zh. Name the files of one, such as {tmp_path}/en"):
        texts(tmp_path)
    assert texts(tmp_path / "zh") == ["zh"]
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{entry('en')}{entry('zh')}  default: true\n---\n")
    assert texts(tmp_path) == ["zh"]


@pytest.mark.parametrize(
    ("names", "read", "left"),
    [
        (("train.jsonl", "test.jsonl"), ["train.jsonl"], "test (1 file)"),
        (("train.json", "val.json", "extra.json"), ["train.json"], "validation (1 file), 1 file of no split, such as"),
        (("cooking.jsonl", "cooking_test.jsonl"), ["cooking.jsonl"], "test (1 file)"),
        (("train/a.jsonl", "dev/a.jsonl"), ["train/a.jsonl"], "validation (1 file)"),
        (("a.jsonl", "latest.jsonl", "contest.jsonl"), ["a.jsonl", "contest.jsonl", "latest.jsonl"], ""),
        (("train.jsonl", "dataset_infos.json"), ["train.jsonl"], ""),
        (("train.txt", "valid.txt"), ["train.txt"], "validation (1 file)"),
        (("train.py", "loop.py", "tests/test_loop.py"), ["loop.py", "tests/test_loop.py", "train.py"], ""),
    ],
)
def test_splits_by_the_names_of_files(tmp_path: Path, names: tuple[str, ...], read: list[str], left: str) -> None:
    for name in names:
        lines(tmp_path / name, name)
    assert data_files(tmp_path) == [tmp_path / name for name in read]
    assert left in unread(tmp_path) if left else not unread(tmp_path)


def test_a_folder_of_one_other_split_is_not_trained_on_unasked(tmp_path: Path) -> None:
    lines(tmp_path / "test.jsonl", "t")
    with pytest.raises(DataError, match="has no split train. Choose one that is there: split: test"):
        texts(tmp_path)
    assert texts(tmp_path, "test") == ["t"] and texts(tmp_path / "test.jsonl") == ["t"]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00009.parquet", "train"),
        ("x_heldout-00000-of-00001.parquet", "x_heldout"),
        ("data/dev.json", "validation"),
        ("coco_val2017.json", "validation"),
        ("MMBench_DEV_EN.tsv", "validation"),
        ("eval/a.json", "test"),
        ("test/train.json", "train"),
        ("evaluate.json", ""),
        ("trainer.json", ""),
        ("attest.json", ""),
    ],
)
def test_split_of(path: str, split: str) -> None:
    assert split_of(PurePosixPath(path)) == split


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n")
    with pytest.raises(RecordError, match=r"only a pointer of git-lfs, not the data\. Run git lfs pull"):
        texts(tmp_path / "a.parquet")


KINDS = {
    "PDF": b"%PDF-1.7\n",
    "Word": b"PK\x03\x04\x14\0[Content_Types].xml\n..word/document.xml",
    "Excel": b"PK\x03\x04\x14\0[Content_Types].xml..xl/workbook.xml",
    "zip": b"PK\x03\x04\x14\0a.json",
    "older office": b"\xd0\xcf\x11\xe0\xa1\xb1",
    "image": b"\x89PNG\r\n\x1a\n",
    "gzip": gzip.compress(b"{}"),
    "bzip2": bz2.compress(b"{}"),
    "zstd": b"\x28\xb5\x2f\xfd\x04",
    "xz": lzma.compress(b"{}"),
    "parquet": b"PAR1\x15\x04",
    "Arrow": b"ARROW1\0\0",
    "HTML": b"\n<!DOCTYPE html><p>Log in</p>",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl.gz", "a.csv"])
def test_a_file_of_another_kind_than_its_name_is_named(tmp_path: Path, name: str, kind: str) -> None:
    content = KINDS[kind]
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    row, *others = raw_rows(tmp_path / name)
    assert others == [] and row.error is not None and row.error.code == "file-kind" and row.text == ""
    assert kind in str(row.error) and translated_error(str(row.error), "zh") != str(row.error)


@pytest.mark.parametrize("text", ["<html> is a tag", "PAR1 of 2", "BZh", "%PDF is a format"])
def test_text_that_begins_alike_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert texts(tmp_path / "a.txt") == [text]


def test_arrow_files_of_both_formats(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist([{"text": str(number)} for number in range(100)])
    with pyarrow.ipc.new_file(str(tmp_path / "a.feather"), table.schema) as file:
        file.write_table(table)
    with pyarrow.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as stream:
        stream.write_table(table)
    assert texts(tmp_path / "a.feather") == texts(tmp_path / "a.arrow") == list(map(str, range(100)))
    content = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "cut.arrow").write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordError, match="not a valid Arrow file, after row 0"):
        texts(tmp_path / "cut.arrow")
