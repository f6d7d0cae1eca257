"""Fields of a record that no reader took: media and text among them would be lost without a word.

`unread_fields` compares what a record holds with what was taken of it, at the top level and in every nested object that
a reader opened. It knows no format, so that it holds for every reader, those of tomorrow included.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal

from llm.errors import RecordError
from llm.records.field_names import (
    WISHES,
    is_container,
    is_file_name,
    is_metadata,
    is_provenance,
    is_text_name,
    media_named,
)
from llm.records.record import Record

Kind = Literal["media", "text", "label"]

_SUFFIXES = {
    "an image": "jpg jpeg png webp gif bmp tif tiff heic heif avif jfif",
    "a video": "mp4 mov avi mkv webm m4v mpg mpeg flv wmv 3gp",
    "audio": "mp3 wav flac ogg opus m4a aac wma aiff",
}
_MEDIA_OF_SUFFIX = {suffix: media for media, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_FILE = re.compile(rf"[^\n<>]{{1,1024}}\.({'|'.join(_MEDIA_OF_SUFFIX)})(?:[?#]\S*)?", re.IGNORECASE)
_DATA_URL = re.compile(r"\s*data:(image|video|audio)/", re.IGNORECASE)
_DATA_MEDIA = {"image": "an image", "video": "a video", "audio": "audio"}
# The first characters of PNG, JPEG, GIF, RIFF (WebP, WAV), BMP and TIFF in base64.
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGODlh", "R0lGODdh", "UklGR", "SUkqA", "TU0AK")
_SHORTEST_BASE64 = 40  # characters; the smallest GIF takes 48
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_PART_TYPES = re.compile(r"(?:input_)?(image|video|audio)(?:_url)?|input_(file)|(file|document)", re.IGNORECASE)
# Words in lower case, numbers, dates, versions, paths, addresses: what labels look like, and sentences do not.
_LABEL = re.compile(
    r"[a-z]{1,24}|(?=\S*[\d_/:@#+=-])[A-Za-z0-9_./:@#+=%&?~-]{1,200}|[\d :.,/+-]+Z?|[A-Z]{1,8}|true|false"
)
_LONG_LABEL = 200  # characters of a metadata field; longer ones are texts
_BLANK_TEXTS = frozenset({"", "[]", "{}", "null"})
_DEPTH = 12  # objects inside each other that are searched


@dataclass(frozen=True, slots=True)
class UnreadField:
    """A filled field that was not read: its path (`messages[1].thinking`), what it holds, and which media.

    A `label` is about the record (an id, a score, a short label), or known to its reader, which does not need it.
    """

    path: str
    kind: Kind = "label"
    media: str = ""

    @property
    def name(self) -> str:
        """The path without numbers, the same for every turn: `messages[].thinking`."""
        return re.sub(r"\[\d+\]", "[]", self.path)


def unread_fields(record: Record, images: Iterable[str] = ()) -> tuple[UnreadField, ...]:
    """The filled fields that no reader took. `images`: names of the record's images, which other fields may repeat."""
    found: list[UnreadField] = []
    known: frozenset[str] | None = None
    for node in _opened(record) if record.inside else (record,):
        taken = node.taken
        for name, value in node.row.items():
            if name in taken or name == "id" or is_blank(value):
                continue
            if known is None:
                known = frozenset(map(_stem, images))
            unknown = name not in node.ignored
            found.append(_unread(node.path + name, name, value, known) if unknown else UnreadField(node.path + name))
    return tuple(found)


def media_error(record: Record, field: UnreadField) -> RecordError:
    """The error of a field that holds media which would not be trained on."""
    if field.media in ("an image", "bytes"):
        advice = "Name images in `image` or `images` of the record, or remove the field"
    elif field.media == "a video":
        advice = "Name videos in `video` or `videos` of a record with a question, or remove the field"
    else:
        advice = "Only text, images and videos can be trained on: remove the field, or leave the record out"
    found = f"holds {field.media}, which format {record.format} does not read"
    return RecordError(record.place, field.path, found, advice, "field-media")


def is_blank(value: object, depth: int = _DEPTH) -> bool:
    """Whether a value asks for nothing: null, an empty text, list or object, or a list or object of such."""
    if value is None:
        return True
    if isinstance(value, str):
        return value in _BLANK_TEXTS or value.isspace()
    if isinstance(value, dict):
        return not value or (depth > 0 and all(is_blank(item, depth - 1) for item in value.values()))
    if isinstance(value, list):
        return not value or (depth > 0 and all(is_blank(item, depth - 1) for item in value))
    return isinstance(value, bytes) and not value


def is_base64_image(text: str) -> bool:
    """Whether a text is an image file in base64, by its first characters; no path is."""
    return len(text) >= _SHORTEST_BASE64 and text.startswith(_BASE64_STARTS) and _BASE64.fullmatch(text) is not None


def _opened(record: Record) -> Iterator[Record]:
    yield record
    for part in record.inside:
        yield from _opened(part)


def _unread(path: str, name: str, value: object, known: frozenset[str]) -> UnreadField:
    media = _media_in(name, value, known, _DEPTH)
    if media:
        return UnreadField(path, "media", media)
    return UnreadField(path, "text" if _has_text(name, value, _DEPTH) else "label")


def _media_in(name: str, value: object, known: frozenset[str], depth: int) -> str:
    """Which media a value holds that are not among the known images; empty for none."""
    if isinstance(value, bytes):
        return media_named(name) or "bytes"
    if isinstance(value, str):
        return _media_of_text(name, value, known)
    if isinstance(value, int | float):
        return "" if isinstance(value, bool) else media_named(name, plain=True)
    if not depth or is_blank(value):
        return ""
    if isinstance(value, list):
        return next((media for item in value if (media := _media_in(name, item, known, depth - 1))), "")
    return _media_in_object(name, value, known, depth) if isinstance(value, dict) else ""


def _media_in_object(name: str, value: dict[str, object], known: frozenset[str], depth: int) -> str:
    kind = value.get("type")
    part = _PART_TYPES.fullmatch(kind) if isinstance(kind, str) else None
    if part and len(value) > 1:
        return _DATA_MEDIA.get((part[1] or "").lower(), "a file")
    inside = media_named(name)
    members = ((name if inside else key, item) for key, item in value.items())
    return next((media for key, item in members if (media := _media_in(key, item, known, depth - 1))), "")


def _media_of_text(name: str, text: str, known: frozenset[str]) -> str:
    text = text.strip()
    if is_blank(text):
        return ""
    if url := _DATA_URL.match(text):
        return _DATA_MEDIA[url[1].lower()]
    if is_base64_image(text):
        return "an image"
    named, file = media_named(name), _FILE.fullmatch(text)
    if not named and not file:
        return ""
    if known and (is_provenance(name) or _stem(text) in known or ("" in known and is_file_name(name))):
        return ""
    return named or (_MEDIA_OF_SUFFIX[file[1].lower()] if file else "")


def _stem(path: str) -> str:
    """The last part of a path or address without its suffix."""
    return PurePosixPath(PureWindowsPath(path.partition("?")[0]).name).stem


def _has_text(name: str, value: object, depth: int) -> bool:
    """Whether a value holds text, or a wish about training, that someone might expect to have an effect."""
    if name in WISHES:
        return value not in (1, "1", "true")
    if isinstance(value, str):
        return not is_blank(value) and _is_text(name, value.strip())
    if not isinstance(value, dict | list) or not depth:
        return False
    if not is_text_name(name) and (is_container(name) or is_metadata(name)):
        return False
    if isinstance(value, list):
        return any(_has_text(name, item, depth - 1) for item in value)
    return any(_has_text(name if is_text_name(name) else key, item, depth - 1) for key, item in value.items())


def _is_text(name: str, text: str) -> bool:
    if is_text_name(name):
        return True
    if is_metadata(name):
        return len(text) > _LONG_LABEL or "\n" in text
    return _LABEL.fullmatch(text) is None
