"""An image file, or a frame of a video, becomes upright 8-bit RGB pixels, and those the tower's input. No torch here.

`check_header` checks a file without decoding its pixels, `read_image` decodes it, `Preprocess` resizes and normalises.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from llm.errors import ImageError
from llm.files.regular_files import open_regular
from llm.formats.conversation import ImageRef, VideoRef
from llm.formats.image_paths import missing_advice
from vlm.vision.file_kinds import FETCH, HEAD, SAVE, is_heic, kind_of
from vlm.vision.file_repair import repaired
from vlm.vision.geometry import ImageGeometry, padded, stretched, tiled
from vlm.vision.square_resize import RESAMPLE, resize_padded
from vlm.vision.tiles import Resolution, Size, Tiling
from vlm.vision.videos import read_frames, read_header

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
"""What is read, by Pillow's names: AVIF where Pillow was built with it, HEIF where pillow-heif is installed."""

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

_SIDEWAYS = tuple(UPRIGHT[number] for number in (5, 6, 7, 8))  # width and height change places

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

# Exceptions of Pillow's readers on damaged bytes: OSError, SyntaxError, ValueError and (AVIF) RuntimeError on 30,000
# mutated files; the others are what such parsers can raise.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    *_BOMB,  # here of a later frame
)
ImageMode = Literal["pad", "resize", "anyres"]
BITS = "Save the image with 8 or 16 bits"
_STRIP = 1 << 20  # pixels that are laid on white at once
_CUT = "cut"  # key of a WebP's info: whether only its first frame is there
_SUBFILE, _DNG_VERSION = 254, 50706  # TIFF tags


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits that are checked on the header alone.

    Pillow opens 89 M pixels without a warning: a PNG of 10,945 bytes then becomes 268 MB. 64 M pixels are 8000 x 8000,
    more than a 50 MP camera gives, and at most 256 MB decoded. Of an image 200 times as long as wide a tower of 336
    pixels sees a line two pixels wide, of a longer one nothing; Qwen2-VL's processor refuses the same.
    """

    max_pixels: int = 64_000_000
    max_bytes: int = 64 * 1024 * 1024
    max_aspect: int = 200
    formats: tuple[str, ...] = FORMATS


DEFAULT_LIMITS = ImageLimits()


def check_header(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """(width, height) as stored, pixels not decoded. ImageError if missing, empty, of unknown type or too large."""
    if ref.frame is not None:
        header = read_header(VideoRef(ref.file))
        return header.width, header.height
    with _open(ref, limits) as image:
        return image.size


def upright_size(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """(width, height) of what `read_image` gives. Pixels are decoded only where EXIF may follow them. ImageError."""
    if ref.frame is not None:
        return read_image(ref).size
    with _open(ref, limits) as image:
        width, height = image.size  # before EXIF is read, since Pillow rotates a TIFF while loading it
        return (height, width) if _upright(image) in _SIDEWAYS else (width, height)


def read_image(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """The first frame as RGB: rotated by its EXIF orientation, transparency on white, 16-bit values as `v >> 8`.

    Pillow too takes the high byte of 16-bit colour PNGs, so grey and colour agree; 8-bit values stretched to 16 bits
    (v * 257) come back exactly. An image with unreadable EXIF counts as upright. Of a video it is the frame of its
    time, within the limits of videos. Raises ImageError.
    """
    if ref.frame is not None:
        return next(read_frames(VideoRef(ref.file), [ref.frame[1]]))
    with _open(ref, limits) as image:
        return _decoded(image, ref)


@dataclass(frozen=True, slots=True)
class ImageProperties:
    """Properties of a readable image: its mode as stored, and what reading it changes."""

    mode: str
    more: Literal["", "frames", "cut frames", "pages"]  # what follows the first frame or page and is not read
    rotated: bool  # by its EXIF orientation


def inspect_image(ref: ImageRef, limits: ImageLimits = DEFAULT_LIMITS, decode: bool = True) -> ImageProperties:
    """The image's properties. Raises what `read_image` would or, without `decode`, `check_header`."""
    if ref.frame is not None:
        read_image(ref)
        return ImageProperties("RGB", "", False)
    with _open(ref, limits) as image:
        mode = image.mode
        if decode:
            _decoded(image, ref)
        # Pillow decodes a PNG to look for EXIF after its pixels.
        rotated = (decode or image.format != "PNG") and _upright(image) is not None
        return ImageProperties(mode, _more(image, decode), rotated)


def _more(image: Image.Image, decode: bool) -> Literal["", "frames", "cut frames", "pages"]:
    """What follows the first frame. The second image of a phone's JPEG is no frame, nor is the preview in a TIFF."""
    if image.format not in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        return ""
    if image.format == "WEBP" and image.info[_CUT]:
        return "cut frames"
    try:
        image.seek(1)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            return "" if _is_preview(image) else "pages"
        if decode:
            image.load()
    except EOFError:
        return ""
    except _BROKEN:
        return "cut frames"
    return "frames"


def _decoded(image: Image.Image, ref: ImageRef) -> Image.Image:
    try:
        image.load()
        upright, rgb = _upright(image), _to_rgb(image, ref)
        return rgb if upright is None else rgb.transpose(upright)
    except _BROKEN as error:
        raise ImageError(f"broken or cut off ({error})", FETCH, name_of(ref), "image-broken") from error


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
            _check_shape(image, ref, limits)
            yield image


def _parsed(source: BinaryIO, ref: ImageRef, limits: ImageLimits) -> Image.Image:
    start = source.read(HEAD)
    source.seek(0)
    formats = _readable(start, limits)
    stream = repaired(source)
    try:
        image = Image.open(stream, formats=formats)
    except _BOMB as error:
        raise _oversized(ref, str(error), limits) from error
    except UnidentifiedImageError as error:
        raise _unknown(start, ref, formats) from error
    except _BROKEN as error:
        raise ImageError(f"unreadable ({error})", FETCH, name_of(ref), "image-broken") from error
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (_is_preview(image) or _DNG_VERSION in image.tag_v2):
        found = "a camera's raw file, of which only the preview could be read"
        raise ImageError(found, SAVE, name_of(ref), "image-kind")
    if image.format == "WEBP":
        image.info[_CUT] = stream is not source
    return image


def _readable(start: bytes, limits: ImageLimits) -> list[str]:
    """The formats that Pillow can open here; pillow-heif is asked for only when a file needs it."""
    lacking = set() if features.check("avif") else {"AVIF"}
    if not (is_heic(start) and "HEIF" in limits.formats and _registers_heif()):
        lacking.add("HEIF")
    return [name for name in limits.formats if name not in lacking]


def _registers_heif() -> bool:
    """Whether pillow-heif is installed; Pillow then reads HEIC."""
    try:
        from pillow_heif import register_heif_opener  # an optional package
    except ImportError:
        return False
    register_heif_opener()
    return True


def _is_preview(page: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a page of a TIFF is another one at reduced resolution: the first of a raw file, the second of a scan."""
    kind = page.tag_v2.get(_SUBFILE, 0)
    return isinstance(kind, int) and bool(kind & 1)


def _check_shape(image: Image.Image, ref: ImageRef, limits: ImageLimits) -> None:
    """Raise ImageError for too many pixels, or for a line."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _oversized(ref, f"{width} x {height} pixels", limits)
    if max(width, height) > limits.max_aspect * min(width, height):
        found = f"{width} x {height} pixels, one side more than {limits.max_aspect} times the other"
        advice = "Cut out the part that is meant: scaled to the few hundred pixels a model sees, nothing is left of it"
        raise ImageError(found, advice, name_of(ref), "image-thin")


def _check_size(source: BinaryIO, ref: ImageRef, limits: ImageLimits) -> None:
    """Raise ImageError for an empty or too large file."""
    size = source.seek(0, SEEK_END)
    source.seek(0)
    if size == 0:
        raise ImageError("the image is empty", FETCH, name_of(ref), "image-empty")
    if size > limits.max_bytes:
        raise _oversized(ref, f"{size:,} bytes", limits)


def _oversized(ref: ImageRef, found: str, limits: ImageLimits) -> ImageError:
    return ImageError(
        f"{found}; at most {limits.max_pixels:,} pixels and {limits.max_bytes:,} bytes are read",
        "Save a smaller copy: the model sees a few hundred pixels a side",
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
    raise ImageError(found, missing_advice(ref.path), ref.path, "image-missing")


def _unknown(start: bytes, ref: ImageRef, readable: Sequence[str]) -> ImageError:
    """The error for a file that begins with `start` and is no image that is read."""
    kind = kind_of(start, readable)
    if kind:
        return ImageError(kind.name, kind.advice, name_of(ref), kind.code)
    advice = f"Save it as one of {', '.join(readable)}"
    return ImageError("not an image of a known kind", advice, name_of(ref), "image-kind")


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
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGB", image.size)
    width, height = image.size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):  # in strips: four copies of a large image at once would be a gigabyte
        layer = image.crop((0, top, width, min(top + rows, height))).convert("RGBA")
        opaque.paste(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), (0, top))
    return opaque


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
    `int(mean * 255)`: LLaVA's expand2square truncates, and so does transformers' LlavaImageProcessor. `anyres` is
    `resize`, and the tiles of `vlm.vision.tiles` besides.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    mode: ImageMode = "pad"
    resolutions: tuple[Resolution, ...] = ()  # of `anyres`

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """[3, size, size], normalised: all of the image."""
        assert image.mode == "RGB", image.mode
        if self.mode == "pad":
            pixels = resize_padded(image, self.size, self.background, self.resample)  # [size, size, 3]
        else:
            pixels = np.asarray(image.resize((self.size, self.size), RESAMPLE[self.resample]))
        return np.stack([table[pixels[..., c]] for c, table in enumerate(self._tables())])

    def views(self, image: Image.Image) -> NDArray[np.float32]:
        """[n, 3, size, size], normalised: all of the image, then its tiles, which `anyres` alone has."""
        if self.tiling is None:
            return self(image)[None]
        pixels = self.tiling.cut(image, self.resample)  # [n, size, size, 3]
        return np.stack([table[pixels[..., c]] for c, table in enumerate(self._tables())], axis=1)

    def geometry(self, size: Size) -> ImageGeometry:
        """Where an image of `size` (width, height) is in its views."""
        if self.tiling is not None:
            return tiled(size, self.tiling)
        return padded(size, self.size) if self.mode == "pad" else stretched(size, (self.size, self.size))

    @property
    def tiling(self) -> Tiling | None:
        """The tiles of `anyres`; None for other modes."""
        return Tiling(self.size, self.resolutions) if self.mode == "anyres" else None

    @property
    def background(self) -> tuple[int, int, int]:
        """The padding's colour."""
        red, green, blue = (int(value * 255) for value in self.mean)
        return red, green, blue

    def fingerprint(self) -> str:
        """Equal for two settings if and only if they give the same pixels; part of every cache key."""
        numbers = ",".join(repr(value) for value in (*self.mean, *self.std))
        tiles = "".join(f"-{height}x{width}" for height, width in self.resolutions)
        return f"{self.mode}-{self.size}-{self.resample}-{numbers}{tiles}"

    def _tables(self) -> NDArray[np.float32]:
        """[3, 256]: the normalised value of each byte, which spares an intermediate float image."""
        mean, std = (np.asarray(values, dtype=np.float64)[:, None] for values in (self.mean, self.std))
        return ((np.arange(256) / 255 - mean) / std).astype(np.float32)
