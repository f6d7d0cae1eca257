"""The content of one turn: text, or a list of parts as OpenAI, transformers, LLaMA-Factory and Anthropic write."""

import json
import re
from dataclasses import dataclass

from llm.formats.conversation import ImageRef, MessagePart, VideoRef
from llm.formats.image_placeholders import PLACEHOLDER, UNFILLED, UNFILLED_VIDEO, image_ref, split_placeholders
from llm.formats.tool_calls import call, result
from llm.formats.video_fields import video_ref
from llm.records.record import Record
from llm.records.unread_fields import is_blank

SLOTS = (PLACEHOLDER, "<IMG_CONTEXT>")
"""Image placeholders in texts: LLaVA's, which most data sets use, and the one of XTuner and InternVL."""

_IMG_TAG = re.compile(r"(?:Picture (\d+): ?)?<img>([^<>\n]{1,4096})</img>\n?")  # Qwen-VL
_TEXT_TYPES = ("text", "input_text", "output_text")
_IMAGE_TYPES = ("image", "image_url", "input_image")
_IMAGE_KEYS = ("image", "image_url", "source", "value", "path", "url", "base64", "bytes", "data", "file_name")
_VIDEO_TYPES = ("video", "video_url", "input_video")
_VIDEO_KEYS = ("video", "video_url", "value", "path", "url", "base64", "bytes", "data", "file_name")
# What Qwen's utilities read beside a video; here one rule of the recipe holds for all.
_VIDEO_WISHES = ("fps", "nframes", "max_frames", "min_frames", "video_start", "video_end", "total_pixels", "sample_fps")
_THOUGHT_TYPES = ("thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class Content:
    """What a turn says: text and images in order, the model's thoughts, and the calls and results among its parts."""

    parts: tuple[MessagePart, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text without the images and videos."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def has_media(self) -> bool:
        """Whether one of the parts is an image, a video or a slot for one."""
        return any(not isinstance(part, str) for part in self.parts)


def read_content(turn: Record, name: str, marks: bool, numbered: bool = False) -> Content:
    """The content under the key `name`. `marks`: `<image>` and `<IMG_CONTEXT>` in a text are slots for images.

    `numbered`: "Picture 1: " before Qwen-VL's `<img>` is part of the text, since the record has several images.
    """
    if not isinstance(turn.row.get(name), list):
        return Content(split_text(turn, name, turn.text(name), marks, numbered))
    pieces = [_read_part(part) for part in turn.parts(name)]
    return Content(
        _in_slots(tuple(part for piece in pieces for part in piece.parts), marks),
        tuple(text for piece in pieces for text in piece.thoughts),
        tuple(text for piece in pieces for text in piece.calls),
        tuple(text for piece in pieces for text in piece.results),
    )


def plain_content(record: Record, path: str, content: object, marks: bool) -> tuple[MessagePart, ...] | None:
    """The content at `path` in a record, or None unless it is a text, or texts and names of images and nothing else.

    Most content is, and is read here without a Record for the turn and for each part, which takes half the time.
    """
    if isinstance(content, str):
        if "</img>" in content:
            return None
        return _split(content) if marks else (content,)
    if not isinstance(content, list) or not content:
        return None
    parts: list[MessagePart] = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) and len(part) == 2 else None
        value = part.get(kind) if kind in ("text", "image") else None
        if not isinstance(value, str) or (kind == "image" and is_blank(value)):
            return None
        parts.append(value if kind == "text" else image_ref(record, f"{path}[{index}].image", value))
    return _in_slots(tuple(parts), marks)


def split_text(turn: Record, name: str, text: str, marks: bool, numbered: bool = False) -> tuple[MessagePart, ...]:
    """A text with images in place of Qwen-VL's `<img>path</img>`, and with `marks` slots in place of placeholders."""
    if "</img>" not in text:
        return _split(text) if marks else (text,)
    parts: list[MessagePart] = []
    start = 0
    for tag in _IMG_TAG.finditer(text):
        label = f"Picture {tag[1]}: " if tag[1] and numbered else ""
        parts += [text[start : tag.start()] + label, image_ref(turn, name, tag[2].strip())]
        start = tag.end()
    parts.append(text[start:])
    if marks:
        parts = [piece for part in parts for piece in (_split(part) if isinstance(part, str) else (part,))]
    return tuple(part for part in parts if part != "")


def count_img_tags(text: object) -> int:
    """How many images a text names as Qwen-VL does."""
    return len(_IMG_TAG.findall(text)) if isinstance(text, str) and "</img>" in text else 0


def _split(text: str) -> tuple[MessagePart, ...]:
    """A text with slots in place of its image placeholders."""
    if SLOTS[1] not in text:
        return split_placeholders(text)
    return split_placeholders(text.replace(SLOTS[1], PLACEHOLDER))


def _in_slots(parts: tuple[MessagePart, ...], marks: bool) -> tuple[MessagePart, ...]:
    """The parts with placeholders in their texts as slots: for the record's images, or for those among the parts.

    XTuner writes both an image part and `<IMG_CONTEXT>`, where it belongs; with as many of each, the images move there.
    """
    images = [part for part in parts if isinstance(part, ImageRef)]
    texts = [part for part in parts if isinstance(part, str)]
    if not images and marks:
        return tuple(piece for part in parts for piece in (_split(part) if isinstance(part, str) else (part,)))
    if not images or sum(text.count(SLOTS[1]) for text in texts) != len(images):
        return parts
    rest = iter(images)
    others = (part for part in parts if not isinstance(part, ImageRef))
    split = (split_placeholders(part, SLOTS[1]) if isinstance(part, str) else (part,) for part in others)
    return tuple(next(rest) if piece == UNFILLED else piece for pieces in split for piece in pieces)


def _read_part(part: Record) -> Content:
    kind = _type(part)
    if kind in _TEXT_TYPES:
        return Content((part.text(_filled(part, ("text", "value", "content")) or "text"),))
    if kind in _IMAGE_TYPES:
        key = _filled(part, _IMAGE_KEYS)
        return Content((image_ref(part, key, part.take(key)) if key else UNFILLED,))
    if kind in _VIDEO_TYPES:
        return Content((_video(part),))
    if kind in _THOUGHT_TYPES:
        return Content(thoughts=(part.text(_filled(part, ("thinking", "reasoning", "text", "value")) or kind),))
    if kind == "tool_use":
        return Content(calls=(call(json.dumps(_tool_use(part), ensure_ascii=False)),))
    if kind == "tool_result":
        return Content(results=(result(_result_text(part)),))
    known = "text, image, image_url, video, video_url, thinking, tool_use and tool_result"
    advice = f"Known parts are {known}: leave the record out"
    raise part.error("type", f"{kind!r} is not supported", advice, "part-type")


def _video(part: Record) -> VideoRef:
    if wish := _filled(part, _VIDEO_WISHES):
        advice = "Remove it, and choose the frames of all videos in the recipe: data.video"
        raise part.error(wish, "frames chosen for a single video", advice, "video-frames")
    key = _filled(part, _VIDEO_KEYS)
    return video_ref(part, key, part.take(key)) if key else UNFILLED_VIDEO


def _type(part: Record) -> str:
    """The type of a part; of one without a type, as Qwen writes them, the key that is filled."""
    untyped = "" if part.row.get("type") is not None else _filled(part, ("text", "image", "image_url", "video"))
    return untyped or part.text("type")


def _filled(part: Record, keys: tuple[str, ...]) -> str:
    """The first of the keys that is filled; empty for none."""
    return next((key for key in keys if not is_blank(part.row.get(key))), "")


def _tool_use(part: Record) -> dict[str, object]:
    arguments = part.take("input")
    if not isinstance(arguments, dict):
        raise part.error("input", "is not an object", "Write the arguments as an object", "tool-call")
    return {"name": part.text("name"), "arguments": arguments}


def _result_text(part: Record) -> str:
    if not isinstance(part.row.get("content"), list):
        return part.optional("content")
    inside = read_content(part, "content", marks=False)
    if inside.has_media:
        raise part.error("content", "holds an image or a video", "Results of tools are text", "image-place")
    return inside.text
