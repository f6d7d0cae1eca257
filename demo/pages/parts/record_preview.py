"""A record and its pictures made small: what a page shows of a row that may hold anything."""

import json
from collections.abc import Mapping
from io import BytesIO

from PIL import Image

from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from llm.formats.row_files import RawRow
from llm.printable import printable
from vlm.vision.images import read_image

TEXT = 400  # characters of one text
WHOLE = 4000  # characters of a record
ITEMS = 20  # of one list or object
DEEP = 8  # levels
SIDE = 240  # pixels


def preview_record(raw: RawRow) -> str:
    """A row as JSON, long texts and lists shortened; a broken one as it is written, shortened."""
    if raw.value is None:
        return _whole(raw.text.strip())
    return _whole(json.dumps(shortened(raw.value), ensure_ascii=False, indent=2))


def _whole(text: str) -> str:
    return printable(_cut(text, WHOLE))


def shortened(value: object, deep: int = DEEP) -> object:
    """A value of JSON, or near it, whose long parts say how much was left out."""
    if isinstance(value, str):
        return _cut(value, TEXT)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, Mapping | list | tuple) and not deep:
        return "..."
    if isinstance(value, Mapping):
        cut = {_cut(str(key), TEXT): shortened(item, deep - 1) for key, item in list(value.items())[:ITEMS]}
        return cut | ({"...": f"({len(value) - ITEMS:,} more)"} if len(value) > ITEMS else {})
    if isinstance(value, list | tuple):
        more = [f"... ({len(value) - ITEMS:,} more)"] if len(value) > ITEMS else []
        return [*(shortened(item, deep - 1) for item in value[:ITEMS]), *more]
    return _cut(str(value), TEXT)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def thumbnail(image: ImageRef) -> bytes:
    """A small JPEG of a picture; nothing where it cannot be opened."""
    try:
        picture = read_image(image)
    except ImageError:
        return b""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    file = BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
