"""The images of converted records: a file finds them, or the report names the folder it needs."""

import base64
import hashlib
import io
import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from data_tools.convert.convert import ConvertOptions, ConvertReport, convert
from llm.config.schema import Source
from llm.errors import ConfigError, ImageError
from llm.formats.conversation import ImageRef
from llm.formats.readers import read, source_format
from tests.llm.rows import Json, bot, user
from vlm.vision.images import read_image


def encoded(colour: str, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, kind)
    return file.getvalue()


def llava(*images: str) -> Json:
    marks = "<image>\n" * len(images)
    turns = [{"from": "human", "value": marks + "什么？"}, {"from": "gpt", "value": "A"}]
    return {"conversations": turns} | ({"image": list(images)} if images else {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """data/rows.json: two images of one name in two folders, a record with several images and one without."""
    folder = tmp_path / "data"
    for name, colour in (("train/1.png", "red"), ("test/1.png", "blue")):
        (folder / "pics" / name).parent.mkdir(parents=True)
        (folder / "pics" / name).write_bytes(encoded(colour, "PNG"))
    rows = [llava("train/1.png"), llava("test/1.png", "train/1.png"), llava()]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def run(data: Path, out: Path, to: str = "llava", **more: bool) -> ConvertReport:
    return convert(ConvertOptions(Source(path=str(data / "rows.json"), images=str(data / "pics")), out, to, **more))


def colours(path: Path, images: str = "") -> list[list[str]]:
    """The colours of the images of every record."""
    names: dict[object, str] = {(255, 0, 0): "red", (0, 0, 255): "blue"}
    rows = read(Source(path=str(path), images=images), Path())
    return [[names[read_image(ref).getpixel((0, 0))] for ref in row.images] for row in rows]


WANTED = [["red"], ["blue", "red"], []]


def test_paths_are_relative_to_a_file_beside_its_images(data: Path) -> None:
    report = run(data, data / "out.json")
    rows = json.loads((data / "out.json").read_text(encoding="utf-8"))
    assert [row.get("image") for row in rows] == ["pics/train/1.png", ["pics/test/1.png", "pics/train/1.png"], None]
    assert report.image_advice == "" and colours(data / "out.json") == WANTED


def test_the_report_names_the_folder_for_a_file_elsewhere(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    report = run(data, out, "openai")
    assert report.lines()[-1] == (
        f"its image paths start in another folder; in a recipe write images: {data / 'pics'}, "
        "or convert with --copy-images"
    )
    assert colours(out, str(data / "pics")) == WANTED


@pytest.mark.parametrize("to", ["llava", "messages", "openai"])
def test_copies_are_beside_the_file_without_collisions(data: Path, tmp_path: Path, to: str) -> None:
    out = tmp_path / "new" / "out.jsonl"
    assert run(data, out, to, copy_images=True).image_advice == ""
    run(data, out, to, copy_images=True)  # once more: what is there already is no mistake
    copied = sorted(path.relative_to(tmp_path / "new").as_posix() for path in out.parent.rglob("*.png"))
    assert copied == ["out_images/test/1.png", "out_images/train/1.png"]
    shutil.move(tmp_path / "new", tmp_path / "moved")
    shutil.rmtree(data)
    assert colours(tmp_path / "moved" / "out.jsonl") == WANTED


@pytest.mark.parametrize("to", ["llava", "messages", "openai"])
def test_parquet_embeds_its_images(data: Path, tmp_path: Path, to: str) -> None:
    out = tmp_path / "out.parquet"
    run(data, out, to)
    shutil.rmtree(data)
    assert source_format(Source(path=str(out)), Path())[0] == ("llava" if to == "llava" else "openai")
    assert colours(out) == WANTED
    back = tmp_path / "back" / "rows.json"
    convert(ConvertOptions(Source(path=str(out)), back, "llava"))
    assert colours(back) == WANTED
    names = {path.name for path in (tmp_path / "back" / "rows_images").iterdir()}
    assert names == {hashlib.sha256(encoded(it, "PNG")).hexdigest()[:24] + ".png" for it in ("red", "blue")}


def test_data_urls_hold_the_bytes_of_the_file(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (data / "pics" / "test" / "1.png").write_bytes(encoded("blue", "JPEG"))  # the content decides, not the name
    run(data, out, "openai", data_urls=True)
    first, second, _ = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    red = base64.b64encode((data / "pics" / "train" / "1.png").read_bytes()).decode()
    assert first["messages"][0]["content"][0]["image_url"] == {"url": f"data:image/png;base64,{red}"}
    assert second["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    (one, *_) = read(Source(path=str(out)), Path())
    assert one.messages == (user(ImageRef(data=(data / "pics/train/1.png").read_bytes()), "什么？"), bot("A"))


def test_a_published_cauldron_file_becomes_llava(tmp_path: Path) -> None:
    """Columns images and texts as in the_cauldron's parquet files; the images are written beside the output."""
    texts = [{"user": "Q", "assistant": "A", "source": "x"}, {"user": "Q2", "assistant": "B", "source": "x"}]
    images = [{"bytes": encoded("red", kind), "path": None} for kind in ("JPEG", "WEBP")]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"images": images, "texts": texts}]), tmp_path / "a.parquet")
    assert (
        convert(ConvertOptions(Source(path=str(tmp_path / "a.parquet")), tmp_path / "out.json", "llava")).format
        == "cauldron"
    )
    (row,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [Path(name).suffix for name in row["image"]] == [".jpg", ".webp"] and "id" not in row
    assert row["conversations"][0] == {"from": "human", "value": "<image>\n<image>\nQ"}
    assert [(tmp_path / name).read_bytes() for name in row["image"]] == [image["bytes"] for image in images]


def test_images_that_cannot_be_embedded(data: Path, tmp_path: Path) -> None:
    picture = data / "pics" / "train" / "1.png"
    picture.write_bytes(b"<html>")
    with pytest.raises(ImageError, match=r"train/1.png: not a known image format"):
        run(data, tmp_path / "out.jsonl", "openai", data_urls=True)
    picture.unlink()
    for name, more in (("out.jsonl", {"copy_images": True}), ("out.parquet", {})):
        with pytest.raises(ImageError, match=r"train/1.png: No such file or directory. Check the record's image"):
            run(data, tmp_path / name, **more)
        assert not (tmp_path / name).exists()
    with pytest.raises(ImageError, match=r"train/1.png: no such file\. Check the record's image"):
        run(data, tmp_path / "named.jsonl")  # the folder was given with --images
    (data / "pics" / "train" / "1.jpg").write_bytes(encoded("red", "JPEG"))
    (data / "pics" / "train" / "1.JPG").write_bytes(encoded("red", "JPEG"))
    with pytest.raises(ImageError, match=r"train/1.png: no such file\. There is 1\.JPG and 1\.jpg"):
        run(data, tmp_path / "named.jsonl")


def test_images_that_are_not_there_are_counted_without_their_folder(tmp_path: Path) -> None:
    rows = [json.dumps(llava(name)) for name in ("gone.png", "a.png", "lost.png")]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (tmp_path / "a.png").write_bytes(encoded("red", "PNG"))
    report = convert(ConvertOptions(Source(path=str(tmp_path / "rows.jsonl")), tmp_path / "out.jsonl", "messages"))
    assert report.written == 3
    assert f"2 images are not there, such as {tmp_path}/gone.png. Give their folder with --images" in report.lines()


def test_bytes_beside_files_elsewhere_need_copies(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(encoded("blue", "PNG")).decode()
    (tmp_path / "a.png").write_bytes(encoded("red", "PNG"))
    (tmp_path / "rows.jsonl").write_text(json.dumps(llava("a.png", url)))
    source, out = Source(path=str(tmp_path / "rows.jsonl")), tmp_path / "new" / "out.jsonl"
    with pytest.raises(ConfigError, match="others are bytes that are written beside it. Add --copy-images"):
        convert(ConvertOptions(source, out, "llava"))
    convert(ConvertOptions(source, out, "llava", copy_images=True))
    assert colours(out) == [["red", "blue"]]
    convert(ConvertOptions(source, tmp_path / "out.jsonl", "messages"))
    assert colours(tmp_path / "out.jsonl") == [["red", "blue"]]
