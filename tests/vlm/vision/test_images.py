"""Images: checked by their header, decoded to exact pixels, resized as transformers does."""

import random
import struct
import subprocess
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin
from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.vision.images import FORMATS, ImageLimits, Preprocess, check_header, inspect_image, read_image
from vlm.vision.square_resize import pad_to_square

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def encode(image: Image.Image, kind: str, **options: object) -> ImageRef:
    """The image as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return ImageRef(data=buffer.getvalue())


def pixels(image: Image.Image) -> list[list[tuple[int, ...]]]:
    """Rows of pixels of a read image."""
    assert image.mode == "RGB"
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A seeded RGB image of independent pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def black_png(side: int) -> bytes:
    """A valid one-bit PNG of side x side, written without decoding anything."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# --- before decoding -------------------------------------------------------------------------------------------------


def test_header_gives_the_stored_size_of_files_and_bytes(tmp_path: Path) -> None:
    ref = encode(noise(5, 3), "PNG")
    (tmp_path / "a.jpg").write_bytes(ref.data)  # a wrong suffix: content decides
    assert check_header(ref) == (5, 3)
    assert check_header(ImageRef(str(tmp_path / "a.jpg"))) == (5, 3)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "HEIF"])
def test_every_listed_format_is_read(kind: str) -> None:
    assert read_image(encode(Image.new("RGB", (8, 8), "white"), kind)).getpixel((4, 4)) == (255, 255, 255)


def test_what_is_not_an_image_is_refused_with_its_name(tmp_path: Path) -> None:
    svg, empty, icon = tmp_path / "x.png", tmp_path / "empty.png", tmp_path / "icon.png"
    svg.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    empty.write_bytes(b"")
    Image.new("RGB", (16, 16)).save(icon, "ICO")
    cases = {
        svg: "an SVG drawing",
        icon: "a Windows icon",
        empty: "empty",
        tmp_path: "a folder",
        tmp_path / "no": "no such file",
    }
    for path, found in cases.items():
        with pytest.raises(ImageError, match=found) as caught:
            check_header(ImageRef(str(path)))
        assert str(path) in str(caught.value)
    with pytest.raises(ImageError, match="empty"):
        check_header(ImageRef())


def test_a_small_file_of_many_pixels_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = ImageRef(data=black_png(9459))
    assert len(bomb.data) < 11_100
    assert 9459 * 9459 * 3 > 268_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.open(BytesIO(bomb.data)).close()  # Pillow itself says nothing

    def load(_image: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for read in (check_header, read_image):
        with pytest.raises(ImageError, match="9459 x 9459 pixels; at most 64,000,000"):
            read(bomb)
    with pytest.raises(ImageError, match="at most 64,000,000 pixels"):  # here Pillow refuses first
        check_header(ImageRef(data=black_png(13_500)))
    assert Image.MAX_IMAGE_PIXELS is not None


def test_limits_are_inclusive() -> None:
    ref = encode(noise(4, 3), "BMP")
    limits = ImageLimits(max_pixels=12, max_bytes=len(ref.data))
    assert check_header(ref, limits) == (4, 3)
    with pytest.raises(ImageError, match="4 x 3 pixels"):
        check_header(ref, ImageLimits(max_pixels=11))
    with pytest.raises(ImageError, match=f"{len(ref.data)} bytes; "):
        check_header(ref, ImageLimits(max_bytes=len(ref.data) - 1))
    with pytest.raises(ImageError) as caught:
        check_header(ref, ImageLimits(max_pixels=11, max_bytes=5000))
    assert str(caught.value) == (
        f"<an image of {len(ref.data)} bytes>: 4 x 3 pixels; at most 11 pixels and 5,000 bytes are read. Save a "
        "smaller copy: the model sees a few hundred pixels a side"
    )
    assert caught.value.code == "image-huge"


@pytest.mark.parametrize(("width", "height"), [(1, 60_000), (30_000, 1), (90, 200_000), (201, 1), (3, 1000)])
def test_a_line_is_refused_by_its_header(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = encode(Image.new("1", (width, height)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    for read in (check_header, read_image, inspect_image):
        with pytest.raises(ImageError, match=f"{width} x {height} pixels, one side more than 200 times") as caught:
            read(ref)
        assert caught.value.code == "image-thin"


@pytest.mark.parametrize(("width", "height"), [(200, 1), (1, 200), (7, 1400)])
def test_the_longest_shape_is_read(width: int, height: int) -> None:
    assert read_image(encode(Image.new("1", (width, height)), "PNG")).size == (width, height)


# --- decoded ---------------------------------------------------------------------------------------------------------

UPRIGHT = [[10, 20], [30, 40], [50, 60]]
STORED = {
    1: [[10, 20], [30, 40], [50, 60]],
    2: [[20, 10], [40, 30], [60, 50]],
    3: [[60, 50], [40, 30], [20, 10]],
    4: [[50, 60], [30, 40], [10, 20]],
    5: [[10, 30, 50], [20, 40, 60]],
    6: [[20, 40, 60], [10, 30, 50]],
    7: [[60, 40, 20], [50, 30, 10]],
    8: [[50, 30, 10], [60, 40, 20]],
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    stored = np.repeat(np.array(STORED[orientation], dtype=np.uint8)[..., None], 3, axis=2)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_image(encode(Image.fromarray(stored), kind, exif=exif, **options))
    assert np.asarray(image)[..., 0].tolist() == UPRIGHT


def test_a_turned_photo_is_upright_and_broken_exif_is_not_a_broken_photo() -> None:
    photo = Image.new("RGB", (64, 32), RED)
    photo.paste(BLUE, (0, 0, 32, 32))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored left side is the top
    turned = read_image(encode(photo, "JPEG", exif=exif, quality=95))
    assert turned.size == (32, 64)
    top, bottom = (np.asarray(turned)[y, 16].astype(int) for y in (8, 56))
    assert np.abs(top - BLUE).max() < 8
    assert np.abs(bottom - RED).max() < 8
    broken = read_image(encode(photo, "JPEG", exif=b"Exif\0\0XX*\0\x08\0\0\0\xff\xff"))
    assert broken.size == (64, 32)


def test_alpha_is_composed_on_white() -> None:
    rgba = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate([(10, 20, 30, 128), (10, 20, 30, 0), (10, 20, 30, 255)]):
        rgba.putpixel((x, 0), pixel)
    # (value * 128 + 255 * 127) / 255: 132.02, 137.04, 142.06
    assert pixels(read_image(encode(rgba, "PNG"))) == [[(132, 137, 142), (255, 255, 255), (10, 20, 30)]]
    assert pixels(read_image(encode(rgba, "WEBP", lossless=True, exact=True)))[0][0] == (132, 137, 142)
    grey = Image.new("LA", (2, 1))
    grey.putpixel((0, 0), (0, 64))
    grey.putpixel((1, 0), (200, 255))
    assert pixels(read_image(encode(grey, "PNG"))) == [[(191, 191, 191), (200, 200, 200)]]


def test_a_transparent_colour_turns_white_in_every_mode() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putpixel((1, 0), 1)
    white = (255, 255, 255)
    assert pixels(read_image(encode(palette, "PNG", transparency=0))) == [[white, (1, 2, 3)]]
    # alpha 51 of 255 is a fifth: 9 -> 205.8, 8 -> 205.6, 7 -> 205.4
    assert pixels(read_image(encode(palette, "PNG", transparency=bytes([51, 255])))) == [[(206, 206, 205), (1, 2, 3)]]
    assert pixels(read_image(encode(palette, "PNG"))) == [[(9, 8, 7), (1, 2, 3)]]
    for mode, hidden, shown in (("L", 5, 6), ("RGB", (5, 5, 5), (6, 6, 6)), ("I;16", 0x0500, 0x0600)):
        image = Image.new(mode, (2, 1), shown)
        image.putpixel((0, 0), hidden)
        assert pixels(read_image(encode(image, "PNG", transparency=hidden))) == [[white, (6, 6, 6)]], mode


@pytest.mark.parametrize(("dtype", "kind"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("<i4", "TIFF")])
def test_sixteen_bits_keep_the_high_byte(dtype: str, kind: str) -> None:
    values = np.array([[0, 255, 256, 257, 0x7FFF, 0x8000, 65534, 65535]], dtype=dtype)
    image = Image.fromarray(values)
    assert image.mode in ("I;16", "I;16B", "I")
    grey = [0, 0, 1, 1, 127, 128, 255, 255]
    assert pixels(read_image(encode(image, kind))) == [[(v, v, v) for v in grey]]
    stretched = Image.fromarray((np.arange(256, dtype="<u2") * 257).reshape(16, 16))
    assert np.asarray(read_image(encode(stretched, "PNG")))[..., 1].ravel().tolist() == list(range(256))


def test_pixels_without_a_known_range_are_refused() -> None:
    for values in (np.array([[0, 70_000]], "<i4"), np.array([[-1, 5]], "<i4"), np.array([[0.0, 1.0]], "<f4")):
        with pytest.raises(ImageError, match="8 or 16 bits"):
            read_image(encode(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    ref = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(BytesIO(ref.data)) as written:
        assert isinstance(written, ImageFile.ImageFile)
        assert written.format == kind
        written.seek(1)  # there is a second one
    assert pixels(read_image(ref)) == [[RED] * 4] * 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.95, 0.7, 0.45])
def test_an_animation_that_is_cut_off_after_its_first_frame_gives_that_frame(kind: str, share: float) -> None:
    frames = [noise(32, 32, seed) for seed in range(4)]
    options = {"lossless": True} if kind == "WEBP" else {}
    whole = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    first = read_image(whole)
    cut = ImageRef(data=whole.data[: int(len(whole.data) * share)])
    assert np.array_equal(np.asarray(read_image(cut)), np.asarray(first))
    assert kind == "GIF" or np.array_equal(np.asarray(first), np.asarray(frames[0]))
    assert check_header(cut) == (32, 32)
    assert inspect_image(whole).more == "frames"
    assert inspect_image(cut).more in ("frames", "cut frames")
    within = ImageRef(data=whole.data[: len(whole.data) // 8])  # the first frame itself is cut
    with pytest.raises(ImageError):
        read_image(within)


def test_pages_of_a_scan_are_reported_and_a_preview_is_not() -> None:
    pages = [noise(8, 8), noise(8, 8, 1)]
    assert inspect_image(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])).more == "pages"
    preview = TiffImagePlugin.ImageFileDirectory_v2()
    preview[254] = 1  # NewSubfileType: a reduced-resolution version of another image
    stream = BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream, new=True) as writer:
        pages[0].save(writer, "TIFF")
        writer.newFrame()
        pages[1].save(writer, "TIFF", tiffinfo=preview)
    assert inspect_image(ImageRef(data=stream.getvalue())).more == ""


@pytest.mark.parametrize("tag", [{254: 1}, {50706: b"\1\4\0\0"}])
def test_the_preview_of_a_raw_photo_is_not_taken_for_the_photo(tag: dict[int, object]) -> None:
    raw = encode(noise(16, 12), "TIFF", tiffinfo=tag)
    with pytest.raises(ImageError, match="camera's raw file"):
        read_image(raw)


def test_a_phone_photo_of_several_images_gives_the_first() -> None:
    frames = [Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)]
    ref = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(read_image(ref), dtype=int) - RED).max() < 8


def test_cmyk_and_bilevel_become_rgb() -> None:
    cmyk = Image.new("CMYK", (4, 1))
    for x, pixel in enumerate([(0, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0), (255, 0, 0, 0)]):
        cmyk.putpixel((x, 0), pixel)
    assert pixels(read_image(encode(cmyk, "TIFF"))) == [[RED, (0, 0, 0), (255, 255, 255), (0, 255, 255)]]
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(np.asarray(read_image(encode(flat, "JPEG", quality=95)), dtype=int) - RED).max() < 8
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    assert pixels(read_image(encode(bits, "PNG"))) == [[(0, 0, 0), (255, 255, 255)]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_cut_off_file_is_refused_with_its_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    whole = encode(noise(40, 40), kind).data
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(ImageError, match=r"cut\.img"):
        read_image(ImageRef(str(path)))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_bytes_give_an_image_or_an_image_error() -> None:
    dice, refused = random.Random(7), 0
    for kind in FORMATS[:-1]:  # all but HEIF
        whole = encode(noise(24, 24), kind).data
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(dice.randint(1, 6)):
                damaged[dice.randrange(min(len(damaged), dice.choice((40, 200, 10_000))))] = dice.randrange(256)
            try:
                assert read_image(ImageRef(data=bytes(damaged))).mode == "RGB"
            except ImageError:
                refused += 1
    assert refused > 100


# --- shaped ----------------------------------------------------------------------------------------------------------

SIZES = [(48, 48), (61, 30), (30, 61), (7, 100), (1, 1), (333, 222)]


def hf_pixels(processor: CLIPImageProcessorPil | LlavaImageProcessorPil, image: Image.Image) -> NDArray[np.float32]:
    """What transformers makes of one image."""
    return np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


def hf_options(size: int, resample: str) -> dict[str, Any]:
    return {
        "size": {"height": size, "width": size},
        "do_center_crop": False,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
        "resample": Image.Resampling[resample.upper()],
    }


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_resize_equals_transformers_clip_processor(resample: Literal["bicubic", "bilinear"]) -> None:
    processor = CLIPImageProcessorPil(**hf_options(56, resample))
    ours = Preprocess(56, CLIP_MEAN, CLIP_STD, resample, "resize")
    for number, (width, height) in enumerate(SIZES):
        image = noise(width, height, number)
        made = ours(image)
        assert made.shape == (3, 56, 56)
        assert made.dtype == np.float32
        assert np.abs(made - hf_pixels(processor, image)).max() <= 1e-6


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_pad_equals_transformers_llava_processor(resample: Literal["bicubic", "bilinear"]) -> None:
    processor = LlavaImageProcessorPil(**hf_options(56, resample), do_pad=True)
    ours = Preprocess(56, CLIP_MEAN, CLIP_STD, resample, "pad")
    stretched = Preprocess(56, CLIP_MEAN, CLIP_STD, resample, "resize")
    for number, (width, height) in enumerate(SIZES):
        image = noise(width, height, number)
        assert np.abs(ours(image) - hf_pixels(processor, image)).max() <= 1e-6
        assert (np.abs(ours(image) - stretched(image)).max() > 0.1) == (width != height)


def test_padding_is_centred_on_the_truncated_mean_colour() -> None:
    made = Preprocess(4, (0.48145466, 0.5, 0.0), (0.5, 0.5, 1.0), "bilinear", "pad")
    assert made.background == (122, 127, 0)  # 122.77 and 127.5 truncated, as LLaVA does
    wide = Image.new("RGB", (4, 1), RED)
    rows = pixels(pad_to_square(wide, made.background))
    assert rows == [[(122, 127, 0)] * 4, [RED] * 4, [(122, 127, 0)] * 4, [(122, 127, 0)] * 4]
    tall = pixels(pad_to_square(wide.transpose(Image.Transpose.ROTATE_90), made.background))
    assert tall == [[(122, 127, 0), RED, (122, 127, 0), (122, 127, 0)]] * 4
    values = made(wide)  # 4 x 4 already: no resampling
    assert values[0, 1, 0] == pytest.approx((1 - 0.48145466) / 0.5, abs=1e-6)
    assert values[1, 0, 0] == pytest.approx((127 / 255 - 0.5) / 0.5, abs=1e-6)
    assert values[2, 3, 3] == 0


def test_fingerprint_changes_with_every_setting() -> None:
    settings = [
        Preprocess(56, CLIP_MEAN, CLIP_STD),
        Preprocess(57, CLIP_MEAN, CLIP_STD),
        Preprocess(56, CLIP_STD, CLIP_STD),
        Preprocess(56, CLIP_MEAN, CLIP_MEAN),
        Preprocess(56, CLIP_MEAN, CLIP_STD, "bilinear"),
        Preprocess(56, CLIP_MEAN, CLIP_STD, "bicubic", "resize"),
    ]
    assert len({setting.fingerprint() for setting in settings}) == len(settings)
    assert settings[0].fingerprint() == Preprocess(56, CLIP_MEAN, CLIP_STD, "bicubic", "pad").fingerprint()


def test_reading_images_needs_no_torch() -> None:
    code = "import sys, vlm.vision.images; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
