"""Previews of records and images, which may hold anything: shortened JSON and thumbnails."""

import json
import re
from collections.abc import Mapping
from io import BytesIO

from PIL import Image

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from llm.printable import printable
from llm.rows.raw_row import RawRow
from vlm.vision.images import read_image

MAX_TEXT = 400  # characters of one text
MAX_RECORD = 4000  # characters of a record
MAX_ITEMS = 20  # of one list or object
MAX_DEPTH = 8  # nested lists and objects
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
FEW = 8  # control characters of a short text
THUMBNAIL_SIDE = 240  # pixels


def preview_record(raw: RawRow) -> str:
    """A record as JSON with long texts and lists shortened; text that is not JSON as it is, shortened."""
    if raw.value is None:
        return f"(binary, {_size(raw.text):,} bytes)" if _is_binary(raw.text) else _limited(raw.text.strip())
    return _limited(json.dumps(shortened(raw.value), ensure_ascii=False, indent=2))


def _is_binary(text: str) -> bool:
    """Whether it has far more control characters than text, in whatever encoding, that is damaged in places."""
    start = text[:MAX_RECORD]
    return len(CONTROL.findall(start)) > FEW + len(start) // 50


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _limited(text: str) -> str:
    return printable(_cut(text, MAX_RECORD))


def shortened(value: object, depth: int = MAX_DEPTH) -> object:
    """A JSON-like value of at most `depth` levels; what is left out of long parts is counted in its place."""
    if isinstance(value, str):
        return _cut(value, MAX_TEXT)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, Mapping | list | tuple) and not depth:
        return "..."
    if isinstance(value, Mapping):
        cut = {_cut(str(key), MAX_TEXT): shortened(item, depth - 1) for key, item in list(value.items())[:MAX_ITEMS]}
        return cut | ({"...": f"({len(value) - MAX_ITEMS:,} more)"} if len(value) > MAX_ITEMS else {})
    if isinstance(value, list | tuple):
        more = [f"... ({len(value) - MAX_ITEMS:,} more)"] if len(value) > MAX_ITEMS else []
        return [*(shortened(item, depth - 1) for item in value[:MAX_ITEMS]), *more]
    return _cut(str(value), MAX_TEXT)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def thumbnail(image: ImageRef) -> bytes:
    """A small JPEG of an image; empty if it cannot be opened."""
    try:
        pixels = read_image(image)
    except ImageError:
        return b""
    pixels.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR)
    file = BytesIO()
    pixels.save(file, "JPEG", quality=85)
    return file.getvalue()
