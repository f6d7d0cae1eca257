"""Formats built around pictures: the_cauldron and FineVision, and imagefolder's table of captions."""

from pathlib import PurePath

from llm.formats.conversation import Message, MessagePart
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images, split_placeholders
from llm.formats.row_files import Record, Row

# What tells a table of pictures from a table of other files with a `file_name`, such as source code.
_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_PICTURE_KEYS = ("file_name", "image")


def read_cauldron(record: Record) -> tuple[Message, ...]:
    """`{"images", "texts": [{"user", "assistant"}, ...]}`, as the_cauldron and FineVision publish.

    The images go where the questions say `<image>`, or before the first one. Rows without images are text alone.
    """
    images = record_images(record, ("images",))
    messages: list[Message] = []
    for turn in record.parts("texts"):
        asked = turn.text("user")
        parts: tuple[MessagePart, ...] = split_placeholders(asked) if images else (asked,)
        messages += [Message("user", parts), Message("assistant", (turn.text("assistant"),))]
    return place_images(record, messages, images, SHOW_ADVICE)


def fits_cauldron(row: Row) -> bool:
    """True for a list of texts with user and assistant."""
    texts = row.get("texts")
    first = texts[0] if isinstance(texts, list) and texts else None
    return isinstance(first, dict) and "user" in first and "assistant" in first


def read_imagefolder(record: Record) -> tuple[Message, ...]:
    """`{"file_name" or "image", "text"}`, a row of metadata.jsonl or metadata.csv: the picture, then its caption."""
    images = record_images(record, _PICTURE_KEYS)
    if not images:
        advice = "Name the picture in every row; captions without one are no use"
        raise record.error("file_name", "is missing", advice, "field-missing")
    return Message("user", tuple(images)), Message("assistant", (record.text("text"),))


def fits_imagefolder(row: Row) -> bool:
    """True for a text beside the name or the bytes of a picture."""
    return isinstance(row.get("text"), str) and any(_is_picture(row.get(key)) for key in _PICTURE_KEYS)


def _is_picture(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value.get("bytes")) or _is_picture(value.get("path"))
    return isinstance(value, str) and PurePath(value).suffix.lower() in _PICTURE_SUFFIXES
