"""Images in data URLs: every spelling that clients send, and nothing but data URLs of images."""

import base64
from dataclasses import replace
from urllib.parse import quote

import pytest

from demo.api.data_url import image_of
from demo.server.limits import DEFAULT, IMAGE
from demo.server.visitor_errors import RequestError
from tests.data_tools.damage import image_bytes

DATA = image_bytes(size=(5, 5))
BODY = base64.b64encode(DATA).decode()
URL = f"data:image/png;base64,{BODY}"
LINES = "\r\n".join(BODY[at : at + 76] for at in range(0, len(BODY), 76))
SAFE = base64.urlsafe_b64encode(bytes(range(256))).decode()
NO_URL = "message 3: an image that is not a data:image/...;base64,... URL. Send the image itself: no address is fetched"


def test_the_cases_below_are_not_trivial() -> None:
    assert BODY.endswith("=") and "\r\n" in LINES and "-" in SAFE and "_" in SAFE and quote(BODY, safe="") != BODY


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (URL, DATA),
        (f" {URL}\n", DATA),
        (f"DATA:IMAGE/PNG;BASE64,{BODY}", DATA),
        (f"data:image/jpeg;charset=utf-8;base64,{BODY}", DATA),
        (f"data:image/jpeg;name=a.jpg; base64,{BODY}", DATA),
        (f"data:image/x-anything;base64,{BODY}", DATA),
        (f"data:application/octet-stream;base64,{BODY}", DATA),
        (f"data:;base64,{BODY}", DATA),
        (f"data:image/png;base64,{LINES}\n", DATA),
        (f"data:image/png;base64, {BODY}", DATA),
        (f"data:image/png;base64,{BODY.rstrip('=')}", DATA),
        (f"data:image/png;base64,{quote(BODY, safe='')}", DATA),
        (f"data:image/png;base64,{SAFE}", bytes(range(256))),
        (f"data:image/png;base64,{SAFE.rstrip('=')}", bytes(range(256))),
    ],
)
def test_every_spelling_gives_the_bytes(url: str, data: bytes) -> None:
    assert image_of(url, "message 3", DEFAULT).data == data


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        ",",
        URL.partition(",")[0],
        BODY,
        URL.replace(";base64", ""),
        URL.replace(";base64", ";base64x"),
        URL.replace(";base64", ";base64;charset=x"),
        URL.replace("image/", "text/"),
        URL.replace("image/png", "image"),
        URL.replace("data:", "data://"),
        "x" * 10**7,
        "data:" + ";" * 10**6 + "image/png;base64,AAAA",
        "http://127.0.0.1/data:image/png;base64,AAAA",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "blob:http://localhost/1",
        f"javascript:{URL}",
    ],
)
def test_nothing_else_is_an_image(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        image_of(url, "message 3", DEFAULT)
    assert str(caught.value).startswith(NO_URL) and caught.value.param == "messages"


@pytest.mark.parametrize("body", [f"{BODY}*", "A", "AAAAA", "@@@@", "AAAA=AAAA", "é", "\ud800", "AA%", "%00"])
def test_what_is_not_base64_is_refused(body: str) -> None:
    with pytest.raises(RequestError, match=r"message 3: an image in invalid base64 \(.+\)\. Encode it again"):
        image_of(f"data:image/png;base64,{body}", "message 3", DEFAULT)


@pytest.mark.parametrize("body", ["", "=", "\n"])
def test_an_empty_image_is_named(body: str) -> None:
    with pytest.raises(RequestError, match="message 3: an image of 0 bytes. Choose the file again"):
        image_of(f"data:image/png;base64,{body}", "message 3", DEFAULT)


@pytest.mark.parametrize(("characters", "decoded"), [(132, True), (136, True), (140, False)])
def test_an_image_that_is_too_long_is_not_decoded(
    characters: int, decoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 99 bytes: 132 characters of base64, and four for rounding up, are 136. Line breaks do not count."""
    taken: list[int] = []

    def counted(body: bytes, validate: bool) -> bytes:
        assert validate
        taken.append(len(body))
        return b"x"

    monkeypatch.setattr("demo.api.data_url.base64.b64decode", counted)
    limits = replace(DEFAULT, image=replace(IMAGE, max_bytes=99))
    url = "data:image/png;base64," + "A" * characters + "\n" * 50
    if decoded:
        assert image_of(url, "message 3", limits).data == b"x" and taken == [characters]
        return
    with pytest.raises(RequestError) as caught:
        image_of(url, "message 3", limits)
    assert taken == [] and str(caught.value) == "message 3: the image is larger than 99 bytes. Send a smaller copy"
