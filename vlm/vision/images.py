"""An image file becomes upright 8-bit RGB pixels, and those become the tower's input. No torch here.

`check_header` checks a file without decoding its pixels, `read_image` decodes it, `Preprocess` resizes and normalises.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from llm.errors import ImageError
from llm.files.regular_files import open_regular
from llm.formats.conversation import ImageRef

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# EXIF orientation -> the transpose that makes the image upright (1 and unknown values: none).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
RESAMPLE = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# Exceptions of Pillow's readers on damaged bytes: OSError, SyntaxError and ValueError on 30,000 mutated files; the
# others are what such parsers can raise.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
BITS = "Save the image with 8 or 16 bits"
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits that are checked on the header alone.

    Pillow opens 89 M pixels without a warning: a PNG of 10,945 bytes then becomes 268 MB. 64 M pixels are 8000 x 8000,
    more than a 50 MP camera gives, and at most 256 MB decoded.
    """

    max_pixels: int = 64_000_000
    max_bytes: int = 64 * 1024 * 1024
    formats: tuple[str, ...] = FORMATS


DEFAULT_LIMITS = ImageLimits()


def check_header(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """(width, height) as stored, pixels not decoded. ImageError if missing, empty, of unknown type or too large."""
    with _open(ref, limits) as image:
        return image.size


def read_image(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """The first frame as RGB: rotated by its EXIF orientation, transparency on white, 16-bit values as `v >> 8`.

    Pillow too takes the high byte of 16-bit colour PNGs, so grey and colour agree; 8-bit values stretched to 16 bits
    (v * 257) come back exactly. An image with unreadable EXIF counts as upright. Raises ImageError.
    """
    with _open(ref, limits) as image:
        return _decoded(image, ref)


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """Properties of a readable image: its mode as stored, and what reading it changes."""

    mode: str
    animated: bool
    rotated: bool  # by its EXIF orientation


def inspect_image(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS, decode: bool = True) -> ImageProperties:
    """The image's properties. Raises what `read_image` would or, without `decode`, `check_header`."""
    with _open(ref, limits) as image:
        mode = image.mode
        if decode:
            _decoded(image, ref)
        # Pillow decodes a PNG to look for EXIF after its pixels.
        rotated = (decode or image.format != "PNG") and _upright(image) is not None
        return ImageProperties(mode, _is_animated(image), rotated)


def _is_animated(image: Image.Image) -> bool:
    if image.format not in ("GIF", "PNG", "WEBP"):
        return False  # pages of a TIFF and the second image of a phone's JPEG are no animation
    try:
        image.seek(1)
    except EOFError:
        return False
    except _BROKEN:
        return True  # a second frame exists, though a damaged one; only the first is read
    return True


def _decoded(image: Image.Image, ref: ImageRef) -> Image.Image:
    try:
        image.load()
        upright, rgb = _upright(image), _to_rgb(image, ref)
        return rgb if upright is None else rgb.transpose(upright)
    except _BROKEN as error:
        raise ImageError(
            f"broken or cut off ({error})", "Replace the file or drop the record", name_of(ref), "image-broken"
        ) from error


def name_of(ref: ImageRef) -> str:
    """Name of an image in messages."""
    return ref.path or f"<an image of {len(ref.data):,} bytes>"


@contextmanager
def _open(ref: ImageRef, limits: ImageLimits) -> Iterator[Image.Image]:
    """Parse and check the header; the format is detected from content, never from the file's name."""
    with _source(ref) as source:
        _check_size(source, ref, limits)
        image = _parsed(source, ref, limits)
        with image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise _oversized(ref, f"{width} x {height} pixels", limits)
            yield image


def _parsed(source: BinaryIO, ref: ImageRef, limits: ImageLimits) -> Image.Image:
    try:
        return Image.open(source, formats=limits.formats)
    except _BOMB as error:
        raise _oversized(ref, str(error), limits) from error
    except UnidentifiedImageError as error:
        raise _unknown(source, ref, limits) from error
    except _BROKEN as error:
        raise ImageError(
            f"unreadable ({error})", "Replace the file or drop the record", name_of(ref), "image-broken"
        ) from error


def _check_size(source: BinaryIO, ref: ImageRef, limits: ImageLimits) -> None:
    """Raise ImageError for an empty or too large file."""
    size = source.seek(0, SEEK_END)
    source.seek(0)
    if size == 0:
        raise ImageError("the image is empty", "Fetch it again or drop the record", name_of(ref), "image-empty")
    if size > limits.max_bytes:
        raise _oversized(ref, f"{size:,} bytes", limits)


def _oversized(ref: ImageRef, found: str, limits: ImageLimits) -> ImageError:
    return ImageError(
        f"{found}; at most {limits.max_pixels:,} pixels and {limits.max_bytes:,} bytes are read",
        "Save a smaller copy: the tower sees a few hundred pixels a side",
        name_of(ref),
        "image-huge",
    )


def _source(ref: ImageRef) -> BinaryIO:
    """The stream that Pillow reads. Raises ImageError if there is no such file or the name is invalid."""
    if not ref.path:
        return BytesIO(ref.data)
    try:
        return open_regular(Path(ref.path))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        found = "no such file"
    except IsADirectoryError:
        found = "a folder"
    except OSError as error:
        found = f"cannot be opened ({error.strerror})"
    raise ImageError(found, "Check the record's image name and the source's images: folder", ref.path, "image-missing")


def _unknown(source: BinaryIO, ref: ImageRef, limits: ImageLimits) -> ImageError:
    """The error for a file of unknown type: often the HTML page of a failed download."""
    source.seek(0)
    start = source.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_WEB_PAGE):
        found, code = "a web page, not an image", "image-html"
        advice = "The download gave an error page: fetch the image again or drop the record"
    else:
        found, code = "not an image of a known kind", "image-kind"
        advice = f"Convert it to one of {', '.join(limits.formats)}"
    return ImageError(found, advice, name_of(ref), code)


def _upright(image: Image.Image) -> Image.Transpose | None:
    """The transpose that makes a loaded image upright. Pillow rotates TIFFs on load and then reports no orientation."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:
        return None  # cameras write broken EXIF with good pixels
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _to_rgb(image: Image.Image, ref: ImageRef) -> Image.Image:
    """Pixels of any mode as 8-bit RGB."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _to_eight_bits(image, ref)
    elif image.mode == "F":
        raise ImageError("floating-point pixels have no fixed range", BITS, name_of(ref), "image-pixels")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image, ref: ImageRef) -> Image.Image:
    """16-bit grey (mode I;16, or I within its range) by its high byte; the transparent grey value becomes white."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("pixels of more than 16 bits", BITS, name_of(ref), "image-pixels")
    grey = (values >> 8).astype(np.uint8)
    hidden = image.info.get("transparency")
    if hidden is not None:
        grey[values == hidden] = 255
    return Image.fromarray(grey)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resizes and normalises an RGB image to the tower's square input, exactly as transformers' PIL processors do.

    Mode `resize` stretches to size x size. `pad` first centres the image on a square of the mean colour,
    `int(mean * 255)`: LLaVA's expand2square truncates, and so does transformers' LlavaImageProcessor.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    mode: Literal["pad", "resize"] = "pad"

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """[3, size, size], normalised."""
        assert image.mode == "RGB", image.mode
        if self.mode == "pad":
            image = pad_to_square(image, self.background)
        pixels = np.asarray(image.resize((self.size, self.size), RESAMPLE[self.resample]))  # [size, size, 3]
        return np.stack([table[pixels[..., c]] for c, table in enumerate(self._tables())])

    @property
    def background(self) -> tuple[int, int, int]:
        """The padding's colour."""
        red, green, blue = (int(value * 255) for value in self.mean)
        return red, green, blue

    def fingerprint(self) -> str:
        """Equal for two settings if and only if they give the same pixels; part of every cache key."""
        numbers = ",".join(repr(value) for value in (*self.mean, *self.std))
        return f"{self.mode}-{self.size}-{self.resample}-{numbers}"

    def _tables(self) -> NDArray[np.float32]:
        """[3, 256]: the normalised value of each byte, which spares an intermediate float image."""
        mean, std = (np.asarray(values, dtype=np.float64)[:, None] for values in (self.mean, self.std))
        return ((np.arange(256) / 255 - mean) / std).astype(np.float32)


def pad_to_square(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The image centred on a square of its longer side; an odd pixel is added below or to the right."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square
