"""The one gate in front of the models: what page and API were sent is refused here or may be answered."""

from dataclasses import replace

from demo.server.limits import Limits
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart, check_conversation
from vlm.vision.images import read_image

PLACE = Place("the request")


def judged(messages: tuple[Message, ...], limits: Limits) -> tuple[Message, ...]:
    """The messages, once nothing about them is refused, with pictures before a text that they came after.

    Pictures are judged from their headers, then decoded once.
    Raises RecordError for roles out of order or too much of anything, ImageError for a picture that is refused.
    """
    if len(messages) > limits.messages:
        raise refused("messages", f"{len(messages)} of them, at most {limits.messages}", "Begin anew")
    if sum(len(message.text) for message in messages) > limits.text:
        raise refused("messages", f"more than {limits.text:,} characters", "Begin anew, or say it shorter")
    # The laws of a record hold for a question too, once it is answered.
    check_conversation(Conversation((*messages, Message("assistant", ("answer",))), PLACE))
    return tuple(_with_sound_images(number, message, limits) for number, message in enumerate(messages, 1))


def refused(field: str, found: str, advice: str) -> RecordError:
    """The error that tells somebody what was wrong with what they sent."""
    return RecordError(PLACE, field, found, advice)


def _with_sound_images(number: int, message: Message, limits: Limits) -> Message:
    images = [part for part in message.parts if isinstance(part, ImageRef)]
    if len(images) > limits.images:
        raise refused(f"message {number}", f"more than {limits.images} images", "Show the others in another message")
    for image in images:
        read_image(image, limits.image)
    return replace(message, parts=_after_images(message.parts))


def _after_images(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    """Pictures first if they all come last: the order in which models were trained to see them."""
    images = tuple(part for part in parts if isinstance(part, ImageRef))
    texts = tuple(part for part in parts if isinstance(part, str))
    return (*images, *texts) if parts == (*texts, *images) else parts
