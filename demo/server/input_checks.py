"""Validation of messages from the page and the API: one function for both, with errors in a chat user's words."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.turns import in_turns
from demo.server.visitor_errors import RefusedImage, RequestError
from llm.errors import ImageError
from llm.formats.conversation import ImageRef, Message, MessagePart, VideoRef
from vlm.vision.images import read_image
from vlm.vision.videos import read_frames

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

DECODING = threading.Lock()  # one image at a time: 64 M pixels take up to 512 MB while they are decoded
Media = ImageRef | VideoRef
NO_NAMES: Mapping[Media, str] = MappingProxyType({})


def validate_messages(
    messages: tuple[Message, ...], limits: Limits, names: Mapping[Media, str] = NO_NAMES
) -> tuple[Message, ...]:
    """Check the messages against the limits, decode every image once, and put them in the order of training.

    Of a video the header is read and the first frame. `names` are the visitor's own names of files, for errors.
    `in_turns` states that order. Images and videos move in front of their message's text only where the message ends
    with all of them: models were trained on that order. Raises
    RequestError for too much of anything, for messages without a question at their end and for images outside
    questions; RefusedImage for an image that is not accepted.
    """
    if len(messages) > limits.messages:
        found = f"{len(messages)} of them, at most {limits.messages} are accepted"
        raise RequestError("messages", found, "Start a new chat", limit=Limit("messages", limits.messages))
    if sum(len(message.text) for message in messages) > limits.text:
        found = f"more than {limits.text:,} characters"
        limit = Limit("characters", limits.text)
        raise RequestError("messages", found, "Start a new chat, or shorten them", limit=limit)
    for number, message in enumerate(messages, 1):
        _check_message(f"message {number}", message, limits)
    turns = in_turns(tuple(replace(message, parts=_media_first(message.parts)) for message in messages))
    for number, message in enumerate(messages, 1):
        _decode_media(f"message {number}", message, limits, names)
    return turns


def _check_message(where: str, message: Message, limits: Limits) -> None:
    images, videos = _images(message), _videos(message)
    if images and message.role != "user":
        raise RequestError(where, "holds an image", "Only questions may have images")
    if videos and message.role != "user":
        raise RequestError(where, "holds a video", "Only questions may have videos")
    if len(videos) > limits.videos:
        found, limit = f"more than {limits.videos} videos", Limit("videos", limits.videos)
        raise RequestError(where, found, "Send the others in another message", limit=limit)
    if len(images) > limits.images:
        found = f"more than {limits.images} images"
        limit = Limit("images", limits.images)
        raise RequestError(where, found, "Send the others in another message", limit=limit)
    try:
        message.text.encode("utf-8")
    except UnicodeEncodeError:
        found = "half of a surrogate pair, which is not a character"
        raise RequestError(where, found, "Write the complete character") from None


def shown_frames(chat_model: "ChatModel", messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages as the model sees them: videos as their frames. Raises RecordError as `ChatModel.shown`."""
    with DECODING:
        return chat_model.shown(messages)


def _decode_media(where: str, message: Message, limits: Limits, names: Mapping[Media, str]) -> None:
    for part in message.parts:
        try:
            with DECODING:
                if isinstance(part, ImageRef):
                    read_image(part, limits.image)
                elif isinstance(part, VideoRef):
                    next(read_frames(part, [0.0], limits.video))
        except ImageError as error:
            assert not isinstance(part, str)
            raise RefusedImage(names.get(part, where), error) from error


def _images(message: Message) -> list[ImageRef]:
    return [part for part in message.parts if isinstance(part, ImageRef)]


def _videos(message: Message) -> list[VideoRef]:
    return [part for part in message.parts if isinstance(part, VideoRef)]


def _media_first(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    media = tuple(part for part in parts if not isinstance(part, str))
    texts = tuple(part for part in parts if isinstance(part, str))
    return (*media, *texts) if parts == (*texts, *media) else parts
