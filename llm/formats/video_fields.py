"""Videos of a record: `video` and `videos` of a row, and the places in its texts where they belong."""

import re
from collections.abc import Iterator

from llm.errors import RecordError
from llm.formats.conversation import Message, MessagePart, VideoRef
from llm.formats.image_placeholders import (
    UNFILLED_VIDEO,
    VIDEO_FIELDS,
    VIDEO_PLACEHOLDER,
    decoded,
    listed,
    path_inside,
)
from llm.records.record import Record, kind
from llm.records.unread_fields import is_blank

_OBJECT_KEYS = ("bytes", "base64", "data", "path", "url", "video", "file_name")
_DATA_KEYS = ("bytes", "base64", "data")
_DATA_URL = re.compile(r"data:video/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_REF_ADVICE = "Write a path inside the image folder"


def with_videos(record: Record, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with the videos of the record in place of `<video>`, or before the first question without one.

    RecordError unless there are as many of both. A record without a question is returned unchanged, for its videos to
    be reported as unread.
    """
    asked = next((number for number, one in enumerate(messages) if one.role == "user"), None)
    videos = record_videos(record) if asked is not None else []
    if not videos and not any(UNFILLED_VIDEO in message.parts for message in messages):
        _refuse_empty_marks(record, messages)
        return messages
    turns = [_split(message) for message in messages] if videos else list(messages)
    if any(VIDEO_PLACEHOLDER in one.text for one in turns if one.role == "assistant" and videos):
        advice = "Only questions may have videos: move it to a question"
        raise record.error("videos", f"{VIDEO_PLACEHOLDER} in an answer", advice, "video-place")
    places = sum(message.parts.count(UNFILLED_VIDEO) for message in turns)
    if not places and asked is not None:
        turns[asked] = Message("user", (*videos, *turns[asked].parts), turns[asked].loss)
        return tuple(turns)
    if places != len(videos):
        found = f"{places} {VIDEO_PLACEHOLDER} but {len(videos)} videos given"
        advice = f"Write one {VIDEO_PLACEHOLDER} for each video, or none to put them before the question"
        raise record.error("videos", found, advice, "video-count")
    rest = iter(videos)
    return tuple(Message(one.role, tuple(_filled(one.parts, rest)), one.loss) for one in turns)


def record_videos(record: Record) -> list[VideoRef]:
    """The videos of the row, in order: one, or a list of them. RecordError for a value that names none."""
    mapped = record.columns.get("video")
    given = [name for name in ((mapped,) if mapped else VIDEO_FIELDS) if not is_blank(record.row.get(name))]
    if len(given) > 1:
        raise record.error(" and ".join(given), "both name videos", "Keep one of the two", "video-twice")
    if not given:
        return []
    value = listed(record.take(given[0]))
    if not isinstance(value, list):
        return [video_ref(record, given[0], value)]
    return [video_ref(record, f"{given[0]}[{index}]", item) for index, item in enumerate(value)]


def video_ref(record: Record, name: str, value: object) -> VideoRef:
    """One video: a path inside the image folder, a data URL, bytes, or an object with one of these. RecordError."""
    if isinstance(value, dict):
        return _from_object(record.part(name, value))
    if isinstance(value, bytes) and value:
        return VideoRef(data=value)
    if isinstance(value, list):
        advice = "Write them as images of the record, in their order"
        raise record.error(name, "a list, such as the frames of a video", advice, "video-ref")
    if not isinstance(value, str):
        raise record.error(name, f"is {kind(value)}, not the path of a video", _REF_ADVICE, "video-ref")
    if data_url := _DATA_URL.match(value):
        return VideoRef(data=decoded(record, name, value[data_url.end() :], "a data URL", "video"))
    path, written = path_inside(record, name, value, "video")
    return VideoRef(path, written=written)


def _from_object(video: Record) -> VideoRef:
    key = next((key for key in _OBJECT_KEYS if not is_blank(video.row.get(key))), "")
    value = video.take(key)
    if not key or isinstance(value, dict):
        found = f"an object of {', '.join(video.row) or 'no keys'} that names no video"
        raise RecordError(video.place, video.path.removesuffix("."), found, _REF_ADVICE, "video-ref")
    if key in _DATA_KEYS:
        video.repeats("path", "url", "media_type", "type", "format")  # about the bytes
        if isinstance(value, str) and not _DATA_URL.match(value):
            return VideoRef(data=decoded(video, key, value, "text", "video"))
    return video_ref(video, key, value)


def _split(message: Message) -> Message:
    """A question with places of videos instead of `<video>`; the line break after one is dropped, as after images."""
    if message.role != "user" or VIDEO_PLACEHOLDER not in message.text:
        return message
    parts: list[MessagePart] = []
    for part in message.parts:
        if not isinstance(part, str):
            parts.append(part)
            continue
        first, *rest = part.split(VIDEO_PLACEHOLDER)
        parts += [first] if first else []
        for piece in rest:
            text = piece.removeprefix("\n")
            parts += [UNFILLED_VIDEO, text] if text else [UNFILLED_VIDEO]
    return Message("user", tuple(parts), message.loss)


def _filled(parts: tuple[MessagePart, ...], videos: Iterator[VideoRef]) -> Iterator[MessagePart]:
    return (next(videos) if part == UNFILLED_VIDEO else part for part in parts)


def _refuse_empty_marks(record: Record, messages: tuple[Message, ...]) -> None:
    """LLaVA's format has its places in the texts: RecordError for a `<video>` there without a video."""
    if record.format != "llava":
        return
    if any(VIDEO_PLACEHOLDER in message.text for message in messages if message.role == "user"):
        advice = f"Name the video in `video`; if {VIDEO_PLACEHOLDER} is ordinary text, use format: sharegpt"
        raise record.error("videos", f"{VIDEO_PLACEHOLDER} but no video given", advice, "video-count")
