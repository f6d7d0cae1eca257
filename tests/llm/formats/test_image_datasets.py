"""the_cauldron's texts and imagefolder's captions, as files hold them; and what `auto` takes them for."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from llm.config.schema import Source
from llm.formats.conversation import ImageRef
from llm.formats.readers import read, source_format
from tests.llm.rows import Json, bot, messages, refusal, source, user

CAULDRON: Json = {
    "images": ["a.png", "b.png"],
    "texts": [{"user": "Q", "assistant": "A"}, {"user": "Q2", "assistant": "A2"}],
}


def test_cauldron_images_come_first_or_replace_placeholders(tmp_path: Path) -> None:
    a, b = ImageRef(str(tmp_path / "a.png")), ImageRef(str(tmp_path / "b.png"))
    marked: Json = {
        **CAULDRON,
        "texts": [{"user": "<image>\nQ", "assistant": "A"}, {"user": "<image>", "assistant": "B"}],
    }
    assert messages(tmp_path, CAULDRON, marked) == [
        (user(a, b, "Q"), bot("A"), user("Q2"), bot("A2")),
        (user(a, "Q"), bot("A"), user(b), bot("B")),
    ]
    half: Json = {**CAULDRON, "texts": [{"user": "<image>\nQ", "assistant": "A"}]}
    assert "1 <image> placeholder but 2 images given. Write one <image> for each" in refusal(tmp_path, half)
    assert "texts[0].assistant: is missing" in refusal(tmp_path, {"texts": [{"user": "Q"}]}, format="cauldron")


def test_a_cauldron_parquet_file_with_its_bytes(tmp_path: Path) -> None:
    pictured: Json = {"images": [{"bytes": b"one", "path": None}], "texts": [{"user": "", "assistant": "cap"}]}
    bare: Json = {"images": None, "texts": [{"user": "Q", "assistant": "A"}]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([pictured, bare]), tmp_path / "part.parquet")
    given = Source(path="part.parquet")
    assert source_format(given, tmp_path)[0] == "cauldron"
    assert [found.messages for found in read(given, tmp_path)] == [
        (user(ImageRef(data=b"one")), bot("cap")),
        (user("Q"), bot("A")),
    ]


def test_an_imagefolder_is_read_from_its_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "birds"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "1.png").write_bytes(b"not looked at")
    (folder / "metadata.csv").write_text("file_name,text\ntrain/1.png,一只鸟\n", encoding="utf-8")
    assert source_format(Source(path="birds"), tmp_path) == (
        "imagefolder",
        "the only row has an image's name and text",
    )
    (found,) = read(Source(path="birds"), tmp_path)
    assert found.messages == (user(ImageRef(str(folder / "train" / "1.png"))), bot("一只鸟"))
    assert source_format(source(tmp_path, {"file_name": "a.JPG", "text": "x"}), tmp_path)[0] == "imagefolder"
    assert (
        source_format(source(tmp_path, {"image": {"bytes": None, "path": "a.webp"}, "text": "x"}), tmp_path)[0]
        == "imagefolder"
    )


def test_a_placeholder_in_a_text_format_is_text(tmp_path: Path) -> None:
    rows = ({"file_name": "a.py", "text": "x = 1"}, {"image": None, "text": "y"})
    for row in rows:
        assert source_format(source(tmp_path, row), tmp_path)[0] == "text"
    assert "file_name: is missing" in refusal(tmp_path, {"text": "y"}, format="imagefolder")
