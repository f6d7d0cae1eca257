"""What a chat user reads about a refused conversation or image: never the words of people who prepare training data."""

import io
import re

import pytest
from PIL import Image

from data_tools.check.findings import CODES
from demo.server.input_checks import validate_messages
from demo.server.limits import DEFAULT
from demo.server.visitor_errors import RefusedImage
from llm.chat.chat_errors import (
    IMAGE_ADVICE,
    OTHER_IMAGE,
    OTHER_MODEL,
    OTHER_TURNS,
    RECORD_TEXTS,
    REPHRASE,
    TURNS,
    UNOPENED,
    UNREADABLE,
    chat_text,
)
from llm.errors import EyegraftError, ImageError, Place, RecordError, RunError, TemplateError
from llm.formats.conversation import ImageRef, Message
from llm.i18n.translate import translated
from tests.demo.conftest import noise_image
from tests.demo.payloads import png, saved
from vlm.vision import file_kinds

OTHERS = (OTHER_IMAGE, UNREADABLE, REPHRASE, TURNS, OTHER_TURNS, UNOPENED, OTHER_MODEL)
FOREIGN = re.compile(r"\b(records?|sources?|drop|recipe|data\.|train(ed|ing)?|remove the|the row)\b")
ADVICE = "Replace the file or drop the record: data.sources of the recipe"


@pytest.mark.parametrize("code", CODES)
def test_no_message_speaks_of_training_data(code: str) -> None:
    for error in (
        RecordError(Place("a.json", 3, "7"), "text", "a record's text", ADVICE, code),
        ImageError("9,000 bytes", ADVICE, "a.png", code),
    ):
        assert FOREIGN.search(str(error)), "as it is for people who prepare data"
        assert not FOREIGN.search(chat_text(error)), chat_text(error)
    assert not FOREIGN.search(chat_text(TemplateError("Set data.template")))
    assert chat_text(RunError("gone")) == "gone"


def test_the_kinds_of_images_to_send_are_those_that_are_read() -> None:
    readable = ", ".join(name for name in DEFAULT.image.formats if name != "HEIF")  # not everywhere
    assert IMAGE_ADVICE["image-kind"] == f"Send one of {readable}"


KINDS = {kind.name: kind for *_, kind in file_kinds._SIGNATURES} | {k.name: k for k in file_kinds._MEDIA.values()}
KINDS |= {
    kind.name: kind
    for start in (b"P6 ", b"\0" * 9, b"<svg/>", b"<html>", b"data:image/png", b"hello", noise_image(1)[:8])
    if (kind := file_kinds.kind_of(start, ["PNG"])) is not None
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_of_file_has_a_chinese_name_and_advice(name: str) -> None:
    kind = KINDS[name]
    for text in (f"a.png: {name}. {kind.advice}", chat_text(ImageError(name, kind.advice, "a.png", kind.code))):
        place, rest = translated(text, "zh").split("：", 1)
        assert place == "a.png" and not re.search(r"\b(an?|the|it|that|or|image)\b", rest), rest


@pytest.mark.parametrize("text", sorted({*IMAGE_ADVICE.values(), *RECORD_TEXTS.values(), *OTHERS}))
def test_every_advice_for_those_who_chat_has_a_chinese_form(text: str) -> None:
    assert not re.search("[a-z]{3}", translated(text, "zh")), translated(text, "zh")


def floating() -> bytes:
    """A TIFF of floating-point pixels under the name of nothing."""
    stream = io.BytesIO()
    Image.new("F", (4, 4)).save(stream, "TIFF")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"<!doctype html><p>404",
            "message 2: a web page, not an image. Open the address in a browser, save the image",
        ),
        (b"hello", 'message 2: a text file that begins "hello". Send one of JPEG, PNG, WEBP, GIF, BMP'),
        (floating(), "message 2: floating-point pixels have no fixed range. Save it as an ordinary PNG or JPEG"),
        (noise_image(1)[:200], "message 2: broken or cut off"),
        (saved("JPEG", 64)[:300], "message 2: unreadable (Truncated File Read). Open it in another program"),
        (png(8_001, 8_000), "message 2: 8001 x 8000 pixels; at most 64,000,000 pixels"),
        (png(64_000, 300), "message 2: 64000 x 300 pixels, one side more than 200 times the other. Cut out the part"),
    ],
    ids=["web page", "text", "tiff", "half a png", "half a jpeg", "huge", "line"],
)
def test_a_refused_image_is_explained_to_its_sender(data: bytes, message: str) -> None:
    asked = (Message("system", ("S",)), Message("user", (ImageRef(data=data), "Q")))
    with pytest.raises(RefusedImage) as caught:
        validate_messages(asked, DEFAULT)
    error: EyegraftError = caught.value
    assert str(error).startswith(message) and chat_text(error) == str(error)
    assert not FOREIGN.search(str(error)), error
