"""Images whose container Pillow refuses keep their pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.vision.file_repair import repaired
from vlm.vision.images import check_header, inspect_image, read_image

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8))
LONG = "a workflow of an image generator " * 100_000  # 3.3 MB

Chunk = tuple[bytes, bytes]
PACKED = zlib.compress(LONG.encode())
TEXTS: dict[str, list[Chunk]] = {
    "tEXt": [(b"tEXt", b"prompt\0" + LONG.encode())],
    "zTXt": [(b"zTXt", b"prompt\0\0" + PACKED)],
    "iTXt": [(b"iTXt", b"prompt\0\0\0\0\0" + LONG.encode())],
    "compressed iTXt": [(b"iTXt", b"prompt\0\1\0en\0Prompt\0" + PACKED)],
    "eighty": [(b"zTXt", b"p\0\0" + zlib.compress(b"x" * 1_000_000))] * 80,
    "broken zTXt": [(b"zTXt", b"p\0\0not zlib")],
    "a profile": [(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000)))],
}


def png(chunks: list[Chunk], **options: object) -> bytes:
    info, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, body in chunks:
        info.add(name, body)
    NOISE.save(stream, "PNG", pnginfo=info, **options)
    return stream.getvalue()


def after_the_pixels() -> bytes:
    """Pillow writes texts before the pixels only."""
    data, text = png([]), b"zTXtp\0\0" + PACKED
    end = data.index(b"IEND") - 4
    return data[:end] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + data[end:]


@pytest.mark.parametrize("case", TEXTS)
def test_a_png_with_long_texts_keeps_its_pixels(case: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    ref = ImageRef(data=png(TEXTS[case], exif=exif))
    assert check_header(ref) == (7, 9)
    assert np.array_equal(np.asarray(read_image(ref)), np.asarray(NOISE)[::-1, ::-1])
    assert inspect_image(ref).rotated


def test_what_pillow_reads_is_not_copied() -> None:
    for data in (png([(b"zTXt", b"p\0\0" + zlib.compress(b"short"))]), b"\xff\xd8\xff", b"", b"RIFF"):
        stream = io.BytesIO(data)
        stream.seek(3)
        stream.seek(0)
        assert repaired(stream) is stream
        assert stream.tell() == 0


def test_short_texts_beside_a_long_one_are_kept() -> None:
    """ImageMagick stores EXIF as text: an image is not turned differently because a long text is dropped."""

    short = (b"zTXt", b"short\0\0" + zlib.compress(b"kept"))
    with Image.open(repaired(io.BytesIO(png([short, *TEXTS["zTXt"]])))) as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.text == {"short": "kept"}


def test_a_long_text_after_the_pixels_takes_them_no_more_than_one_before() -> None:
    ref = ImageRef(data=after_the_pixels())
    assert np.array_equal(np.asarray(read_image(ref)), np.asarray(NOISE))
    with pytest.raises(ImageError):
        read_image(ImageRef(data=png(TEXTS["tEXt"])[:2_000_000]))  # cut off before the pixels


def test_lengths_that_lie_are_no_crash() -> None:
    for length in (0, 2**31 - 1, 2**32 - 1):
        data = png(TEXTS["zTXt"])
        at = data.index(b"zTXt") - 4
        with pytest.raises(ImageError):
            read_image(ImageRef(data=data[:at] + struct.pack(">I", length) + data[at + 4 :]))


def test_a_webp_animation_is_cut_after_its_first_frame_only_when_it_is_incomplete() -> None:
    stream, frames = io.BytesIO(), [NOISE, NOISE.rotate(180), NOISE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    complete = stream.getvalue()
    assert inspect_image(ImageRef(data=complete)).more == "frames"
    cut = ImageRef(data=complete[:-20])
    assert np.array_equal(np.asarray(read_image(cut)), np.asarray(NOISE))
    assert inspect_image(cut).more == "cut frames"
