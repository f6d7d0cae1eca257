"""OpenAI's message format and its many relatives: text or a list of parts, loss flags, tool calls and their results."""

from llm.formats.chat_turns import with_system
from llm.formats.conversation import Message
from llm.formats.image_placeholders import fill_placeholders, record_images
from llm.formats.turns.message_turns import ROLE_CONTENT, read_turns
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank


def read_openai(record: Record) -> tuple[Message, ...]:
    """`{"messages": [{"role", "content", "loss"?}, ...], "images"?, "tools"?}`.

    Content is text or a list of text and image parts (llm/formats/turns). Image parts without an image, and `<image>`
    in the text of a row with images, take the row's images in order. A single answer is plain text, as in ms-swift.
    """
    images = record_images(record)
    messages = read_turns(record, _turns_key(record.row), ROLE_CONTENT, marks=bool(images))
    if len(messages) == 1 and messages[0].role == "assistant" and not images and is_blank(record.row.get("system")):
        return messages  # how ms-swift writes texts for continued pretraining
    advice = "Give one image for each image part, or one <image> in the text for each image"
    return fill_placeholders(record, with_system(record, messages), images, advice)


def fits_openai(row: Row) -> bool:
    """Whether the row has a list of turns with role and content."""
    turns = row.get(_turns_key(row))
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and "role" in first and "content" in first


def _turns_key(row: Row) -> str:
    return "conversations" if "messages" not in row and "conversations" in row else "messages"
