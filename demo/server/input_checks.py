"""Validation of messages from the page and the API: one function for both."""

from dataclasses import replace

from demo.server.limits import Limits
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart, check_conversation
from vlm.vision.images import read_image

PLACE = Place("the request")


def validate_messages(messages: tuple[Message, ...], limits: Limits) -> tuple[Message, ...]:
    """Check the messages against the limits and decode every image once; returns them with images before text.

    Images move in front only where a message ends with all of them: models were trained on that order.
    Raises RecordError for roles out of order or too much of anything, ImageError for an image that is not accepted.
    """
    if len(messages) > limits.messages:
        found = f"{len(messages)} of them, at most {limits.messages} are accepted"
        raise request_error("messages", found, "Start a new chat")
    if sum(len(message.text) for message in messages) > limits.text:
        raise request_error("messages", f"more than {limits.text:,} characters", "Start a new chat, or shorten them")
    # The rules of a training record hold for a question too, once an answer is appended.
    check_conversation(Conversation((*messages, Message("assistant", ("answer",))), PLACE))
    return tuple(_check_images(number, message, limits) for number, message in enumerate(messages, 1))


def request_error(field: str, found: str, advice: str) -> RecordError:
    """The error for a request: field, what was found, what to do."""
    return RecordError(PLACE, field, found, advice)


def _check_images(number: int, message: Message, limits: Limits) -> Message:
    images = [part for part in message.parts if isinstance(part, ImageRef)]
    if len(images) > limits.images:
        found = f"more than {limits.images} images"
        raise request_error(f"message {number}", found, "Send the others in another message")
    for image in images:
        read_image(image, limits.image)
    return replace(message, parts=_images_first(message.parts))


def _images_first(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    images = tuple(part for part in parts if isinstance(part, ImageRef))
    texts = tuple(part for part in parts if isinstance(part, str))
    return (*images, *texts) if parts == (*texts, *images) else parts
