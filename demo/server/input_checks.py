"""Validation of messages from the page and the API: one function for both, with errors in a chat user's words."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.turns import in_turns
from demo.server.visitor_errors import RefusedImage, RequestError
from llm.errors import ImageError
from llm.formats.conversation import ImageRef, Message, MessagePart
from vlm.vision.images import read_image

DECODING = threading.Lock()  # one image at a time: 64 M pixels take up to 512 MB while they are decoded
NO_NAMES: Mapping[ImageRef, str] = MappingProxyType({})


def validate_messages(
    messages: tuple[Message, ...], limits: Limits, names: Mapping[ImageRef, str] = NO_NAMES
) -> tuple[Message, ...]:
    """Check the messages against the limits, decode every image once, and put them in the order of training.

    `names` are the visitor's own names of images, for errors. `in_turns` states that order. Images move in front of
    their message's text only where the message ends with all of them: models were trained on that order. Raises
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
    turns = in_turns(tuple(replace(message, parts=_images_first(message.parts)) for message in messages))
    for number, message in enumerate(messages, 1):
        _decode_images(f"message {number}", message, limits, names)
    return turns


def _check_message(where: str, message: Message, limits: Limits) -> None:
    images = _images(message)
    if images and message.role != "user":
        raise RequestError(where, "holds an image", "Only questions may have images")
    if len(images) > limits.images:
        found = f"more than {limits.images} images"
        limit = Limit("images", limits.images)
        raise RequestError(where, found, "Send the others in another message", limit=limit)
    try:
        message.text.encode("utf-8")
    except UnicodeEncodeError:
        found = "half of a surrogate pair, which is not a character"
        raise RequestError(where, found, "Write the complete character") from None


def _decode_images(where: str, message: Message, limits: Limits, names: Mapping[ImageRef, str]) -> None:
    for image in _images(message):
        try:
            with DECODING:
                read_image(image, limits.image)
        except ImageError as error:
            raise RefusedImage(names.get(image, where), error) from error


def _images(message: Message) -> list[ImageRef]:
    return [part for part in message.parts if isinstance(part, ImageRef)]


def _images_first(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    images = tuple(part for part in parts if isinstance(part, ImageRef))
    texts = tuple(part for part in parts if isinstance(part, str))
    return (*images, *texts) if parts == (*texts, *images) else parts
