"""Images of a record: values become `ImageRef`s inside the image folder and replace the placeholders in its text."""

import base64
import binascii
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import repeat

from llm.errors import RecordError
from llm.formats.conversation import ImageRef, Message, MessagePart, VideoRef
from llm.formats.image_paths import find_image, names_file
from llm.records.record import Record, kind
from llm.records.unread_fields import is_base64_image, is_blank

PLACEHOLDER = "<image>"
VIDEO_PLACEHOLDER = "<video>"
UNFILLED = ImageRef()
"""An `<image>` in the text, until `fill_placeholders` replaces it by an image of the record."""
UNFILLED_VIDEO = VideoRef()
"""The same for a `<video>`, until `llm.formats.video_fields` fills it."""
VIDEO_FIELDS = ("video", "videos")
SHOW_ADVICE = f"Write one {PLACEHOLDER} for each image, or none to put them before the question"
_OBJECT_KEYS = ("bytes", "base64", "data", "path", "url", "image", "file_name")
_DATA_KEYS = ("bytes", "base64", "data")
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


def record_images(record: Record, names: Iterable[str] = ("image", "images")) -> list[ImageRef]:
    """The images under one of the keys `names`, in order: one image, or a list of them; none without the key."""
    given = [name for name in names if not is_blank(record.row.get(name))]
    if len(given) > 1:
        raise record.error(" and ".join(given), "both name images", "Keep one of the two", "image-twice")
    if not given:
        return []
    value = listed(record.take(given[0]))
    if not isinstance(value, list):
        return [image_ref(record, given[0], value)]
    return [image_ref(record, f"{given[0]}[{index}]", item) for index, item in enumerate(value)]


def listed(value: object) -> object:
    """The list that a cell of a table holds as JSON text; any other value unchanged."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) else value


def image_ref(record: Record, name: str, value: object) -> ImageRef:
    """One image: a path inside the image folder, a data URL, base64, bytes, or an object with one of these.

    An object has it under `bytes`, as parquet files do, `base64`, `data`, `path`, `url` or `image`; the first that is
    filled is read, in this order. Bytes in JSON are base64 or a list of numbers.
    """
    if isinstance(value, dict):
        return _from_object(record.part(name, value))
    if isinstance(value, bytes) and value:
        return ImageRef(data=value)
    if not isinstance(value, str):
        advice = "Write a path inside the image folder"
        raise record.error(name, f"is {kind(value)}, not the path of an image", advice, "image-ref")
    if data_url := _DATA_URL.match(value):
        return ImageRef(data=decoded(record, name, value[data_url.end() :], "a data URL"))
    if is_base64_image(value):
        return ImageRef(data=decoded(record, name, value, "an image in base64"))
    path, written = path_inside(record, name, value)
    return ImageRef(path, written=written)


def _from_object(image: Record) -> ImageRef:
    key = next((key for key in _OBJECT_KEYS if not is_blank(image.row.get(key))), "")
    value = image.take(key)
    if not key or isinstance(value, dict):
        found = f"an object of {', '.join(image.row) or 'no keys'} that names no image"
        advice = f"Write a path, a data URL or base64 under one of {', '.join(_OBJECT_KEYS)}"
        raise RecordError(image.place, image.path.removesuffix("."), found, advice, "image-ref")
    if key in _DATA_KEYS:
        image.repeats("path", "url", "media_type", "type", "format")  # about the bytes
    if isinstance(value, list):
        return ImageRef(data=_from_numbers(image, key, value))
    if key in _DATA_KEYS and isinstance(value, str):
        data_url = _DATA_URL.match(value)
        return ImageRef(data=decoded(image, key, value[data_url.end() if data_url else 0 :], "text"))
    return image_ref(image, key, value)


def _from_numbers(image: Record, name: str, numbers: list[object]) -> bytes:
    """The bytes that are a list of numbers, as in JSON made from a parquet file."""
    if not all(type(number) is int and 0 <= number <= 255 for number in numbers):
        advice = "Write the bytes of the image file as numbers from 0 to 255, or its path"
        raise image.error(name, "a list of other things than bytes", advice, "image-ref")
    return bytes(number for number in numbers if isinstance(number, int))


def decoded(record: Record, name: str, text: str, what: str, media: str = "image") -> bytes:
    """The bytes of an image or a video that are written as base64. RecordError."""
    advice = f"Encode the complete {media} file as base64, or write its path"
    try:
        data = base64.b64decode(_padded(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise record.error(name, f"{what} that is not base64 ({error})", advice, f"{media}-ref") from None
    if not data:
        raise record.error(name, f"{what} without data", advice, f"{media}-ref")
    return data


def _padded(text: str) -> str:
    """Base64 without line breaks, and with the padding that some writers leave out."""
    text = "".join(text.split())
    return text if "=" in text else text + "=" * (-len(text) % 4)


def path_inside(record: Record, name: str, path: str, media: str = "image") -> tuple[str, str]:
    """The absolute path of a file in the image folder, and `path` where that names it otherwise; RecordError outside.

    Symbolic links are not resolved: they may lead elsewhere.
    """
    full = os.path.normpath(os.path.join(record.images, path))
    inside = full.startswith(record.images.rstrip(os.sep) + os.sep) and "\0" not in path
    if inside and "://" not in path and names_file(full):
        return full, ""
    if found := find_image(record.images, path):
        return found, path
    advice = f"Write a path inside the image folder {record.images} (`images` of the source)"
    shown = path if len(path) <= 80 else f"{path[:80]}..."
    if ("://" in path and not path.lower().startswith("file:")) or path.startswith("data:"):
        found = f"{shown!r} is a URL, and {media}s are not downloaded"
        raise record.error(name, found, f"Save the {media}. {advice}", f"{media}-url")
    if not inside or path.lower().startswith("file:"):
        raise record.error(name, f"{shown!r} is outside the image folder", advice, f"{media}-outside")
    return full, ""


def split_placeholders(text: str, placeholder: str = PLACEHOLDER) -> tuple[MessagePart, ...]:
    """Text split at every placeholder. A line break after one is dropped: the template adds it (see `Message`)."""
    if placeholder not in text:
        return (text,) if text else ()
    first, *rest = text.split(placeholder)
    parts: list[MessagePart] = [first]
    for piece in rest:
        parts += [UNFILLED, piece.removeprefix("\n")]
    return tuple(part for part in parts if part != "")


def fill_placeholders(
    record: Record, messages: Iterable[Message], images: list[ImageRef], advice: str
) -> tuple[Message, ...]:
    """The messages with every placeholder replaced by the next image. RecordError unless the numbers are equal.

    In a record of videos without images and without `<video>`, `<image>` is the place of a video, as LLaVA writes it.
    """
    turns = tuple(messages)
    for number, message in enumerate(turns, 1):
        if message.role == "assistant" and UNFILLED in message.parts:
            found, move = f"{PLACEHOLDER} in an answer", "Only questions may have images: move it to a question"
            raise record.error(f"message {number}", found, move, "image-in-answer")
    placeholders = sum([message.parts.count(UNFILLED) for message in turns])
    if placeholders and not images and placeholders == count_videos(record, turns):
        return tuple(_filled(message, repeat(UNFILLED_VIDEO)) for message in turns)
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


def count_videos(record: Record, messages: Iterable[Message]) -> int:
    """How many videos the fields of a record name; 0 where its texts have places of their own for them."""
    if any(UNFILLED_VIDEO in message.parts or VIDEO_PLACEHOLDER in message.text for message in messages):
        return 0
    value = listed(next((record.row[name] for name in VIDEO_FIELDS if not is_blank(record.row.get(name))), None))
    return len(value) if isinstance(value, list) else int(value is not None)


def _filled(message: Message, images: Iterator[MessagePart]) -> Message:
    parts = tuple([next(images) if part == UNFILLED else part for part in message.parts])
    return Message(message.role, parts, message.loss)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
