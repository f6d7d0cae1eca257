"""Formats of image data sets: the_cauldron and FineVision, and the captions of an imagefolder."""

from pathlib import PurePath

from llm.formats.conversation import Message
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images
from llm.formats.turns.content_parts import split_text
from llm.records.record import Record, Row
from llm.records.unread_fields import is_base64_image, is_blank

# By these a table of images differs from one of other files with a `file_name`, such as source code.
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_IMAGE_KEYS = ("file_name", "image", "images")


def read_cauldron(record: Record) -> tuple[Message, ...]:
    """`{"images", "texts": [{"user", "assistant"}, ...]}`, the format of the_cauldron and FineVision.

    Images replace `<image>` in the questions, or precede the first question. Rows without images are text.
    """
    images = record_images(record, ("images",))
    messages: list[Message] = []
    for turn in record.parts("texts"):
        asked = turn.text("user")
        parts = split_text(turn, "user", asked, bool(images))
        messages += [Message("user", parts), Message("assistant", (turn.text("assistant"),))]
    return place_images(record, messages, images, SHOW_ADVICE)


def fits_cauldron(row: Row) -> bool:
    """Whether the row has a list of texts with user and assistant."""
    texts = row.get("texts")
    first = texts[0] if isinstance(texts, list) and texts else None
    return isinstance(first, dict) and "user" in first and "assistant" in first


def read_imagefolder(record: Record) -> tuple[Message, ...]:
    """`{"file_name" or "image", "text" or "caption"}`, a row of metadata.jsonl or metadata.csv: an image's caption."""
    images = record_images(record, _IMAGE_KEYS)
    if not images:
        advice = "Name an image in every row"
        raise record.error("file_name", "is missing", advice, "field-missing")
    caption = record.text("caption" if "text" not in record.row and "caption" in record.row else "text")
    return Message("user", tuple(images)), Message("assistant", (caption,))


def fits_imagefolder(row: Row) -> bool:
    """Whether the row has a text or a caption, and the file name or the bytes of an image."""
    caption = row["text"] if "text" in row else row.get("caption")
    return isinstance(caption, str) and any(_is_image(row.get(key)) for key in _IMAGE_KEYS)


def _is_image(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_image(value[0])
    if isinstance(value, dict):
        return any(not is_blank(value.get(key)) for key in ("bytes", "base64")) or any(
            _is_image(value.get(key)) for key in ("path", "url")
        )
    if not isinstance(value, str):
        return isinstance(value, bytes) and bool(value)
    is_file = PurePath(value).suffix.lower() in _IMAGE_SUFFIXES
    return is_file or value.startswith("data:image/") or is_base64_image(value)
