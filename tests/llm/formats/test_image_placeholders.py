"""Images of a record replace its placeholders, lie inside the image folder, and are as many as the placeholders."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from llm.config.schema import Source
from llm.errors import Place
from llm.formats.conversation import ImageRef
from llm.formats.readers import read
from tests.llm.rows import TURNS, Json, messages, refusal, source, user


def llava(text: str, image: object = None) -> Json:
    return {"image": image, "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "A"}]}


def test_llava_placeholders_become_images_in_order(tmp_path: Path) -> None:
    a, b = ImageRef(str(tmp_path / "a.png")), ImageRef(str(tmp_path / "sub/b.png"))
    two = ["a.png", "sub/b.png"]
    rows = [
        llava("<image>\nQ", "a.png"),
        llava("Q\n<image>", ["a.png"]),
        llava("see <image> and <image>\n\nQ", two),
        llava("<image><image>", two),
        llava("no picture"),
        llava("no picture", []),
    ]
    assert [turns[0] for turns in messages(tmp_path, *rows)] == [
        user(a, "Q"),
        user("Q\n", a),
        user("see ", a, " and ", b, "\nQ"),
        user(a, b),
        user("no picture"),
        user("no picture"),
    ]


def test_data_urls_are_decoded(tmp_path: Path) -> None:
    row = llava("<image><image>", ["data:image/png;base64,aGVsbG8=", "DATA:IMAGE/JPEG;BASE64,aGk="])
    assert messages(tmp_path, row)[0][0] == user(ImageRef(data=b"hello"), ImageRef(data=b"hi"))


def test_llava_images_in_later_turns(tmp_path: Path) -> None:
    row = {"images": ["a.png", "b.png"], "conversations": llava("<image>\nQ")["conversations"]}
    row["conversations"] = [*TURNS, {"from": "human", "value": "<image><image>"}, TURNS[1]]
    (conversation,) = read(source(tmp_path, row), tmp_path)
    assert conversation.messages[0] == user("Q")
    assert conversation.images == (ImageRef(str(tmp_path / "a.png")), ImageRef(str(tmp_path / "b.png")))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (llava("<image>\nQ", ["a.png", "b.png"]), "1 <image> placeholder but 2 images given. Write one <image>"),
        (llava("<image><image>", "a.png"), "2 <image> placeholders but 1 image given"),
        (llava("Q", "a.png"), "0 <image> placeholders but 1 image given"),
        (llava("<image>\nQ"), "1 <image> placeholder but 0 images given. Name the image in `image`"),
        (llava("<image>\nQ", 5), "image: is a number, not the path of an image"),
        (llava("<image>\nQ", {"bytes": None, "path": None}), "1 <image> placeholder but 0 images given"),
        (llava("<image>\nQ", {"name": "a.png"}), "image: an object of name that names no image. Write a path"),
        (llava("<image>\nQ", {"bytes": [1, 256]}), "image.bytes: a list of other things than bytes"),
        (llava("<image>\nQ", {"bytes": "é"}), "image.bytes: text that is not base64"),
        (llava("<image>\nQ", {"url": "https://x.org/a.png"}), "image.url: 'https://x.org/a.png' is a URL"),
        (llava("<image>\nQ", [None, "a.png"]), "image[0]: is null, not the path of an image"),
        (llava("<image>\nQ", "a.png") | {"images": ["a.png"]}, "both name images"),
        (llava("<image>\nQ", "http://x.org/a.png"), "is a URL, and images are not downloaded"),
        (llava("<image>\nQ", "file:///etc/a.png"), "'file:///etc/a.png' is outside"),
        (llava("<image>\nQ", "data:image/png;base64,AAA!"), "image: a data URL that is not base64"),
        (llava("<image>\nQ", "data:image/png;base64,é"), "image: a data URL that is not base64"),
        (llava("<image>\nQ", "data:image/png;base64,"), "image: a data URL without data"),
        (llava("<image>\nQ", "data:text/html;base64," + "A" * 500), "AAA...' is a URL"),
        (llava("<image>\nQ", "../a.png"), "is outside the image folder"),
        (llava("<image>\nQ", "x/../../a.png"), "is outside the image folder"),
        (llava("<image>\nQ", "/etc/a.png"), "is outside the image folder"),
        (llava("<image>\nQ", "."), "is outside the image folder"),
        (llava("<image>\nQ", "a\0.png"), "is outside the image folder"),
    ],
)
def test_invalid_images_raise(tmp_path: Path, row: Json, message: str) -> None:
    assert message in refusal(tmp_path, row)


def test_an_image_in_an_answer_raises(tmp_path: Path) -> None:
    row = {"image": "a.png", "conversations": [TURNS[0], {"from": "gpt", "value": "<image>"}]}
    assert "Only questions may have images" in refusal(tmp_path, row)


def test_the_image_folder_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = str(tmp_path / "pics/a.png")
    for name in ("a.png", full, "x/../a.png"):
        assert messages(tmp_path, llava("<image>", name), images="pics")[0][0] == user(ImageRef(full))
    beside = str(tmp_path / "pics-too/a.png")  # a name that begins like the folder's
    assert "is outside" in refusal(tmp_path, llava("<image>", beside), images="pics")
    monkeypatch.chdir(tmp_path)
    (conversation,) = read(source(tmp_path, llava("<image>", "a.png"), images="pics"), Path())
    assert conversation.images == (ImageRef(full),)
    assert conversation.place == Place("rows.jsonl", 1)


def test_parquet_rows_carry_their_images(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>\n<image>Q"}, TURNS[1]]
    images = [{"bytes": b"png", "path": "x.png"}, {"bytes": None, "path": "y.png"}]
    table = pyarrow.Table.from_pylist([{"images": images, "conversations": turns}])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    (conversation,) = read(Source(path="a.parquet"), tmp_path)
    assert conversation.images == (ImageRef(data=b"png"), ImageRef(str(tmp_path / "y.png")))
    assert conversation.place.id == "row 1"
