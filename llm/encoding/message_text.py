"""The messages of a conversation as the texts that chat templates receive."""

from dataclasses import replace

from llm.formats.conversation import ImageRef, Message, MessagePart

IMAGE_PLACEHOLDER = "<image>"
"""How an image is written in the text of a message and in rendered text."""


def prepare_messages(messages: tuple[Message, ...], plain: bool) -> tuple[Message, ...]:
    """The messages as templates expect them: each image followed by a line break.

    `plain`: user and system messages keep their images only, and are left out without one.
    """
    if not plain:
        return tuple(
            replace(message, parts=_with_line_breaks(message.parts)) if _has_image(message) else message
            for message in messages
        )
    bare = [message if message.role == "assistant" else _images_only(message) for message in messages]
    return tuple(message for message in bare if message.parts)


def message_text(message: Message) -> str:
    """The text of a message, an image as `<image>`."""
    return "".join(IMAGE_PLACEHOLDER if isinstance(part, ImageRef) else text_of(part) for part in message.parts)


def text_of(part: MessagePart) -> str:
    """A part that is no image: the encoder has replaced videos before a template sees them."""
    assert isinstance(part, str), part
    return part


def _has_image(message: Message) -> bool:
    return any(isinstance(part, ImageRef) for part in message.parts)


def _images_only(message: Message) -> Message:
    return replace(message, parts=tuple(part for part in message.parts if isinstance(part, ImageRef)))


def _with_line_breaks(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    """Adjacent texts joined, and a line break after every image whose text does not begin with one."""
    texts: list[str] = [""]
    images: list[ImageRef] = []
    for part in parts:
        if isinstance(part, ImageRef):
            images.append(part)
            texts.append("")
        else:
            texts[-1] += text_of(part)
    lines = [texts[0], *(text if text.startswith("\n") else "\n" + text for text in texts[1:])]
    mixed: list[MessagePart] = [lines[0]]
    for image, line in zip(images, lines[1:], strict=True):
        mixed += [image, line]
    return tuple(part for part in mixed if part)
