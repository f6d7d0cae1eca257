"""Paths of images as other systems write them: found where one file fits, otherwise the message names what is there."""

import os
import unicodedata
from pathlib import Path

import pytest

from llm.errors import Place, RecordError
from llm.formats import image_paths
from llm.formats.image_paths import find_image, missing_advice
from llm.formats.image_placeholders import image_ref
from llm.records.record import Record

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An image folder; names that differ in case alone need a file system that keeps them apart, as Linux has."""
    for name in ("img/a.jpg", "img/my cat.png", "img/TWO.png", "img/two.PNG", "img/b.webp", "img/100%.png", DECOMPOSED,
                 "c.jpg", "c.png", "Photos/x.jpeg", "notes.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("img\\a.jpg", "img/a.jpg"),
        ("img\\a.JPG", "img/a.jpg"),
        (".\\IMG\\A.Jpg", "img/a.jpg"),
        ("/img/a.jpg", "img/a.jpg"),
        ("\\img\\a.jpg", "img/a.jpg"),
        ("img/a.jpeg", "img/a.jpg"),
        ("img/a.png", "img/a.jpg"),
        ("img/a", "img/a.jpg"),
        ("img/my%20cat.png", "img/my cat.png"),
        ("img/100%25.png", "img/100%.png"),
        (" img/a.jpg\n", "img/a.jpg"),
        ("photos/X.jpeg", "Photos/x.jpeg"),
        (COMPOSED, DECOMPOSED),
        ("CAFÉ.png", DECOMPOSED),
    ],
)
def test_one_file_that_fits_is_found(images: Path, written: str, found: str) -> None:
    record = Record(Place("a.json", 1), {"image": written}, "llava", str(images))
    assert image_ref(record, "image", written).path == f"{images}/{found}"
    assert image_ref(record, "image", written).written == written


def test_the_one_folder_of_an_archive_may_be_left_out(tmp_path: Path) -> None:
    """As it is packed on a Mac and on Windows; a second folder, and nothing is guessed."""
    for name in ("upload/My photos/a.jpg", "upload/.DS_Store", "__MACOSX/upload/._a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for written in ("a.jpg", "A.JPG", "my photos/a.jpg", "upload/My photos/a.jpg", "\\a.jpg"):
        assert find_image(str(tmp_path), written) == f"{tmp_path}/upload/My photos/a.jpg"
    assert find_image(str(tmp_path), "b.jpg") == find_image(str(tmp_path), "../a.jpg") == ""
    (tmp_path / "other").mkdir()
    assert find_image(str(tmp_path), "a.jpg") == ""


@pytest.mark.parametrize("form", ["file://{}/img/a.jpg", "file:{}/img/a.jpg", "file://localhost{}/img/a.jpg"])
def test_file_urls_inside_the_folder(images: Path, form: str) -> None:
    assert find_image(str(images), form.format(images)) == f"{images}/img/a.jpg"


@pytest.mark.parametrize(
    "written",
    ["img/Two.png", "c.gif", "gone.png", "notes", "../a.jpg", "http://x/img/a.jpg", "C:\\img\\a.jpg", "", "/", "a\0b"],
)
def test_what_fits_no_file_or_several_is_not_guessed(images: Path, written: str) -> None:
    assert find_image(str(images), written) == ""


@pytest.mark.parametrize("written", ["../a.jpg", "/etc/passwd", "file:///etc/passwd", "..\\..\\a.jpg/../../.."])
def test_a_path_still_cannot_leave_the_folder(images: Path, written: str) -> None:
    record = Record(Place("a.json", 1), {"image": written}, "llava", str(images / "img"))
    with pytest.raises(RecordError, match="outside the image folder"):
        image_ref(record, "image", written)


def test_a_path_that_names_its_file_lists_no_folder(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: str) -> list[str]:
        raise AssertionError(f"{folder} was listed")

    monkeypatch.setattr(os, "listdir", fail)
    record = Record(Place("a.json", 1), {"image": "img/a.jpg"}, "llava", str(images))
    assert image_ref(record, "image", "img/a.jpg").written == ""


def test_a_folder_is_listed_once_and_again_when_it_changed(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    real = os.listdir

    def listing(folder: str) -> list[str]:
        listed.append(folder)
        return real(folder)

    monkeypatch.setattr(image_paths.os, "listdir", listing)
    image_paths._read_listing.cache_clear()
    for _ in range(3):
        assert find_image(str(images), "img/new.PNG") == ""
    once = len(listed)
    (images / "img" / "new.png").write_bytes(b"x")
    os.utime(images / "img", ns=(1, 1))
    assert find_image(str(images), "img/new.PNG") == f"{images}/img/new.png"
    assert once <= 2 and len(listed) == once + 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("img/Two.png", "There is TWO.png and two.PNG: write"),
        ("c.gif", "There is c.jpg and c.png: write"),
        ("img/c.jpg", "There is c.jpg in {}: write its path"),
        ("img/nothing.jpg", "Check the record's image name"),
    ],
)
def test_the_message_names_what_is_there(images: Path, name: str, advice: str) -> None:
    assert missing_advice(str(images / name)).startswith(advice.format(images))


def test_a_folder_asked_for_often_is_listed_once(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_paths, "_OFTEN", 2)
    image_paths._folder.cache_clear()
    asked: list[str] = []
    lexists = os.path.lexists

    def noted(path: str) -> bool:
        asked.append(path)
        return lexists(path)

    monkeypatch.setattr(os.path, "lexists", noted)
    names = ("a.jpg", "two.PNG", "b.webp", "a.jpg", "gone.jpg")
    assert [image_paths.names_file(f"{images}/img/{name}") for name in names] == [True, True, True, True, False]
    assert [path.rpartition("/")[2] for path in asked] == ["a.jpg", "two.PNG", "gone.jpg"]
