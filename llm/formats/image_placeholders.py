"""Images of a record: values become `ImageRef`s inside the image folder and replace the placeholders in its text."""

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from llm.formats.conversation import ImageRef, Message, MessagePart
from llm.formats.row_files import Record, kind

PLACEHOLDER = "<image>"
UNFILLED = ImageRef()
"""An `<image>` in the text, until `fill_placeholders` replaces it by an image of the record."""
SHOW_ADVICE = f"Write one {PLACEHOLDER} for each image, or none to put them before the question"
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


def record_images(record: Record, names: Iterable[str] = ("image", "images")) -> list[ImageRef]:
    """The images under one of the keys `names`, in order: a path, bytes, or a list of either; none without the key."""
    given = [name for name in names if record.row.get(name) not in (None, "", [])]
    if len(given) > 1:
        raise record.error(" and ".join(given), "both name images", "Keep one of the two", "image-twice")
    if not given:
        return []
    value = record.row[given[0]]
    if not isinstance(value, list):
        return [image_ref(record, given[0], value)]
    return [image_ref(record, f"{given[0]}[{index}]", item) for index, item in enumerate(value)]


def image_ref(record: Record, name: str, value: object) -> ImageRef:
    """One image: a path inside the image folder, a data URL, or `{"bytes", "path"}` as in parquet files."""
    if isinstance(value, bytes) and value:
        return ImageRef(data=value)
    data = value.get("bytes") if isinstance(value, dict) else None
    if isinstance(data, bytes) and data:
        return ImageRef(data=data)
    path = value.get("path") if isinstance(value, dict) else value
    if not isinstance(path, str):
        advice = "Write a path inside the image folder"
        raise record.error(name, f"is {kind(path)}, not the path of an image", advice, "image-ref")
    if data_url := _DATA_URL.match(path):
        return ImageRef(data=_decoded(record, name, path[data_url.end() :]))
    return ImageRef(_inside(record, name, path))


def _decoded(record: Record, name: str, text: str) -> bytes:
    advice = "Encode the whole image file as base64, or write its path"
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise record.error(name, f"a data URL that is not base64 ({error})", advice, "image-ref") from None
    if not data:
        raise record.error(name, "a data URL without data", advice, "image-ref")
    return data


def _inside(record: Record, name: str, path: str) -> str:
    """The absolute path of a file inside the image folder. Symbolic links are not resolved: they may lead elsewhere."""
    advice = f"Write a path inside the image folder {record.images} (`images` of the source)"
    shown = path if len(path) <= 80 else f"{path[:80]}..."
    if "://" in path or path.startswith("data:"):
        raise record.error(
            name, f"{shown!r} is a URL, and images are not downloaded", f"Save the image. {advice}", "image-url"
        )
    full = os.path.normpath(os.path.join(record.images, path))
    if not full.startswith(record.images.rstrip(os.sep) + os.sep) or "\0" in path:
        raise record.error(name, f"{shown!r} is outside the image folder", advice, "image-outside")
    return full


def split_placeholders(text: str) -> tuple[MessagePart, ...]:
    """Text split at every `<image>`. A line break after one is dropped: the template adds it (see `Message`)."""
    first, *rest = text.split(PLACEHOLDER)
    parts: list[MessagePart] = [first]
    for piece in rest:
        parts += [UNFILLED, piece.removeprefix("\n")]
    return tuple(part for part in parts if part != "")


def fill_placeholders(
    record: Record, messages: Iterable[Message], images: list[ImageRef], advice: str
) -> tuple[Message, ...]:
    """The messages with every placeholder replaced by the next image. RecordError unless the numbers are equal."""
    turns = tuple(messages)
    for number, message in enumerate(turns, 1):
        if message.role == "assistant" and UNFILLED in message.parts:
            found, move = f"{PLACEHOLDER} in an answer", "Only questions may have images: move it to a question"
            raise record.error(f"message {number}", found, move, "image-in-answer")
    placeholders = sum(message.parts.count(UNFILLED) for message in turns)
    if placeholders != len(images):
        found = f"{_many(placeholders, f'{PLACEHOLDER} placeholder')} but {_many(len(images), 'image')} given"
        raise record.error("images", found, advice, "image-count")
    if not placeholders:
        return turns
    rest = iter(images)
    return tuple(_filled(message, rest) if UNFILLED in message.parts else message for message in turns)


def place_images(
    record: Record, messages: Iterable[Message], images: list[ImageRef], advice: str
) -> tuple[Message, ...]:
    """As `fill_placeholders`; without any placeholder the images are put before the first question."""
    turns = list(messages)
    first = next((number for number, message in enumerate(turns) if message.role == "user"), None)
    if first is not None and not any(UNFILLED in message.parts for message in turns):
        turns[first] = replace(turns[first], parts=(*[UNFILLED] * len(images), *turns[first].parts))
    return fill_placeholders(record, turns, images, advice)


def _filled(message: Message, images: Iterator[ImageRef]) -> Message:
    return replace(message, parts=tuple(next(images) if part == UNFILLED else part for part in message.parts))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
