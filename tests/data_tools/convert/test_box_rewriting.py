"""`data convert --boxes`: boxes of texts in the style of another model."""

import json
from pathlib import Path

import pytest
from PIL import Image

from data_tools.convert.box_rewriting import rewrite_boxes
from data_tools.convert.convert import ConvertOptions, convert
from llm.config.schema import Source
from llm.errors import ConfigError, Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
from vlm.app import cli
from vlm.scores.box_styles import STYLES, BoxStyle

SIZE = (280, 140)
# One box of 280 x 140, (28, 14) to (140, 84), by hand; of that size Qwen2.5-VL's processor resizes nothing.
SAME: dict[BoxStyle, str] = {
    "llava": "[0.100, 0.100, 0.500, 0.600]",
    "xtuner": "{<10><10><50><60>}",
    "thousand": "[100, 100, 500, 600]",
    "paligemma": "<loc0102><loc0102><loc0614><loc0512>",
    "qwen2.5": "[28, 14, 140, 84]",
    "pixels": "[28, 14, 140, 84]",
}


@pytest.fixture
def image(tmp_path: Path) -> ImageRef:
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    return ImageRef(str(tmp_path / "a.png"))


def about(text: str, *images: ImageRef) -> Conversation:
    return Conversation((Message("user", (*images, "Where?")), Message("assistant", (text,))), Place("f", 3))


@pytest.mark.parametrize("source", STYLES)
@pytest.mark.parametrize("to", STYLES)
def test_every_style_to_every_other(source: BoxStyle, to: BoxStyle, image: ImageRef) -> None:
    rewritten, count = rewrite_boxes(about(f"A cat {SAME[source]}, a dog {SAME[source]}.", image), to, source)
    assert (rewritten.messages[1].text, count) == (f"A cat {SAME[to]}, a dog {SAME[to]}.", 2)


def test_pixels_of_the_resized_image_are_written(tmp_path: Path) -> None:
    """200 x 100 is resized to 196 x 112 by multiples of 28."""
    Image.new("RGB", (200, 100)).save(tmp_path / "b.png")
    rewritten, _ = rewrite_boxes(about("[20, 10, 100, 60]", ImageRef(str(tmp_path / "b.png"))), "qwen2.5", "pixels")
    assert rewritten.messages[1].text == "[20, 11, 98, 67]"


def test_the_style_of_a_box_is_found_where_it_is_one_alone(image: ImageRef) -> None:
    rewritten, _ = rewrite_boxes(about("A {<10><10><50><60>} and [0.1, 0.1, 0.5, 0.6].", image), "thousand")
    assert rewritten.messages[1].text == "A [100, 100, 500, 600] and [100, 100, 500, 600]."
    tagged, _ = rewrite_boxes(about("<box>(100,100),(500,600)</box>", image), "llava", "thousand")
    assert tagged.messages[1].text == "[0.100, 0.100, 0.500, 0.600]"


def test_texts_without_images_are_left_as_they_are() -> None:
    plain = about("The list is [1, 2, 3, 4].")
    assert rewrite_boxes(plain, "thousand") == (plain, 0)


@pytest.mark.parametrize(
    ("text", "to", "source", "code", "message"),
    [
        ("[10, 20, 50, 60]", "llava", None, "box-convention", "may be of the styles thousand, qwen2.5, pixels"),
        ("[10, 20, 50, 60]", "thousand", "llava", "box-convention", "none of the style llava"),
        ("[10, 20, 350, 60]", "llava", "pixels", "box-outside", "leaves the image"),
        ("[0.5, 0.2, 0.1, 0.6]", "thousand", None, "box-outside", "has no area"),
        ("[0.1, 0.2, 0.5, 0.6]" * 60, "thousand", None, "box-convention", "more than 49 boxes"),
    ],
)
def test_what_cannot_be_rewritten_is_named(
    text: str, to: BoxStyle, source: BoxStyle | None, code: str, message: str, image: ImageRef
) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        rewrite_boxes(about(text, image), to, source)
    assert caught.value.code == code and caught.value.place.line == 3


def test_pixels_need_one_image_that_can_be_read(image: ImageRef, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="2 images, and a box in pixels is of one of them"):
        rewrite_boxes(about(SAME["pixels"], image, image), "llava", "pixels")
    assert rewrite_boxes(about(SAME["thousand"], image, image), "llava", "thousand")[1] == 1
    with pytest.raises(RecordError) as caught:
        rewrite_boxes(about(SAME["pixels"], ImageRef(str(tmp_path / "gone.png"))), "llava", "pixels")
    assert caught.value.code == "image-missing"


def test_the_command_rewrites_a_file_and_counts(
    image: ImageRef, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {
            "image": "a.png",
            "conversations": [{"from": "human", "value": "<image>\nWhere?"}, {"from": "gpt", "value": text}],
        }
        for text in (SAME["llava"], "Nowhere.", "[10, 20, 50, 60]")
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    source = Source(path=str(tmp_path / "in.json"))
    with pytest.raises(RecordError, match="may be of the styles"):
        convert(ConvertOptions(source, tmp_path / "out.json", "llava", boxes="thousand"))
    with pytest.raises(ConfigError, match="--boxes-from: has no effect without --boxes"):
        convert(ConvertOptions(source, tmp_path / "out.json", "llava", boxes_from="thousand"))
    out = str(tmp_path / "out.json")
    words = ["data", "convert", source.path, out, "--to", "llava", "--boxes", "thousand", "--skip"]
    monkeypatch.setattr("sys.argv", ["eyegraft", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "boxes: 1 written as thousand" in said and "1 record whose boxes could not be rewritten" in said
    answers = [row["conversations"][1]["value"] for row in json.loads(Path(out).read_text())]
    assert answers == [SAME["thousand"], "Nowhere."]
