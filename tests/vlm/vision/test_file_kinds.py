"""Files that are no image we read, named by their content."""

import base64
import gzip
import io
import sys

import numpy as np
import pytest
from PIL import Image

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.vision import images
from vlm.vision.file_kinds import kind_of
from vlm.vision.images import FORMATS, read_image


def saved(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


def media(brand: bytes, *others: bytes) -> bytes:
    """The head of an ISO base media file."""
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(64)


KINDS: dict[str, tuple[bytes, str]] = {
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "svg of an editor": (
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- " + b"licence " * 200 + b"-->\n<!DOCTYPE svg>\n<svg/>",
        "an SVG drawing",
    ),
    "a page with a drawing": (b"<!DOCTYPE html><html><svg></svg></html>", "a web page"),
    "an error of S3": (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "a web page"),
    "an iPhone's photo": (media(b"heic", b"mif1", b"heic"), "a HEIC image"),
    "a neutral brand": (media(b"mif1", b"mif1", b"heic"), "a HEIC image"),
    "a burst": (media(b"msf1", b"hevc"), "a HEIC image"),
    "Canon's raw": (media(b"crx ", b"isom"), "a camera's raw file (CR3)"),
    "mp4": (media(b"isom", b"avc1"), "a video (MPEG-4)"),
    "an iPhone's video": (media(b"qt  "), "a video (QuickTime)"),
    "webm": (b"\x1aE\xdf\xa3\x01", "a video (Matroska or WebM)"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
    "wav": (b"RIFF\0\0\0\0WAVEfmt ", "an audio file"),
    "mp3": (b"ID3\x04", "an audio file"),
    "pdf": (b"%PDF-1.7\n", "a PDF document. Save the page that is meant"),
    "psd": (b"8BPS\0\1", "a Photoshop document"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript document"),
    "jxl": (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
    "jxl in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    "jp2": (saved("JPEG2000"), "a JPEG 2000 image"),
    "ico": (saved("ICO"), "a Windows icon"),
    "ppm": (saved("PPM"), "a Netpbm image"),
    "dicom": (bytes(128) + b"DICM", "a DICOM image"),
    "raf": (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
    "nef without an image": (b"II*\0\x08\0\0\0" + bytes(60), "a TIFF file without an image that is read"),
    "docx": (b"PK\3\4", "a zip archive or office document"),
    "svgz": (gzip.compress(b"<svg/>"), "a gzip archive"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0", "macOS's notes"),
    "a failed copy": (bytes(5000), "nothing but zero bytes"),
    "base64": (base64.b64encode(saved("PNG")), "an image in base64"),
    "a data URL": (b"data:image/png;base64,iVBORw0KGgo", "an image in base64"),
    "a server's answer": (b"404: Not Found\n", 'a text file that begins "404: Not Found"'),
    "numpy": (b"\x93NUMPY\x01\0", "a NumPy array"),
}


@pytest.mark.parametrize("case", KINDS)
def test_a_file_is_named_by_its_content(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    data, words = KINDS[case]
    with pytest.raises(ImageError) as caught:
        read_image(ImageRef(data=data))
    assert words in str(caught.value)
    assert caught.value.code == ("image-html" if words == "a web page" else "image-kind")
    assert "record" not in str(caught.value), "a visitor of the page reads this too"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP"])
@pytest.mark.parametrize("length", [12, 16, 40, 700])
def test_a_stump_of_an_image_is_broken_and_of_no_unknown_kind(kind: str, length: int) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(ImageRef(data=saved(kind)[:length]))
    assert caught.value.code == "image-broken"


def test_nothing_is_invented_about_other_bytes() -> None:
    assert kind_of(bytes(range(128, 256)), FORMATS) is None
    with pytest.raises(ImageError, match="not an image of a known kind. Save it as one of JPEG, PNG"):
        read_image(ImageRef(data=bytes(range(128, 256))))


def test_avif_is_read_and_named_where_pillow_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    image = ImageRef(data=saved("AVIF", quality=100))
    assert read_image(image).size == (48, 48)
    monkeypatch.setattr(images.features, "check", lambda _name: False)
    with pytest.raises(ImageError, match="an AVIF image. Save it as PNG or JPEG"):
        read_image(image)


def test_heic_is_read_where_pillow_heif_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 32), (250, 20, 20))).save(stream, quality=90)
    image = read_image(ImageRef(data=stream.getvalue()))
    assert image.size == (64, 32)
    assert np.abs(np.asarray(image).astype(int) - (250, 20, 20)).max() < 8
    with pytest.raises(ImageError) as caught:
        read_image(ImageRef(data=stream.getvalue()[:200]))
    assert caught.value.code == "image-broken"


def test_heic_is_named_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)  # importing it fails
    with pytest.raises(ImageError, match="a HEIC image. Save it as PNG or JPEG; it is read as it is where pillow-heif"):
        read_image(ImageRef(data=media(b"heic", b"mif1")))
