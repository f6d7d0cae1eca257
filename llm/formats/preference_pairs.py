"""Preference data: a prompt, a chosen and a rejected answer."""

from dataclasses import dataclass

from llm.formats.chat_turns import with_system
from llm.formats.conversation import Conversation, Message, check_conversation
from llm.formats.image_placeholders import fill_placeholders, record_images, split_placeholders
from llm.formats.openai_messages import read_messages
from llm.formats.row_files import Record, Row


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two conversations that differ in the last answer."""

    chosen: Conversation
    rejected: Conversation


def read_preference(record: Record) -> tuple[Message, ...]:
    """`{"prompt", "chosen", "rejected"}`, each a text or a list of messages: the chosen conversation.

    Supervised fine-tuning trains on the chosen answer; the rejected one is neither used nor checked.
    Lists that begin with a question are the complete conversation, including the prompt.
    """
    return _side(record, "chosen")


def read_pair(record: Record) -> PreferencePair:
    """Both conversations, checked. Raises RecordError when an answer is missing or both are equal."""
    chosen = Conversation(_side(record, "chosen"), record.place)
    rejected = Conversation(_side(record, "rejected"), record.place)
    check_conversation(chosen)
    check_conversation(rejected)
    if chosen == rejected:
        raise record.error("rejected", "equals the chosen answer", "Correct or remove the pair", "pair-same")
    return PreferencePair(chosen, rejected)


def fits_preference(row: Row) -> bool:
    """Whether the row has a chosen and a rejected answer."""
    return "chosen" in row and "rejected" in row


def _side(record: Record, name: str) -> tuple[Message, ...]:
    images = record_images(record)
    answer = _messages(record, name, "assistant", images != [])
    messages = (
        answer if answer[0].role != "assistant" else (*_messages(record, "prompt", "user", images != []), *answer)
    )
    advice = "Write one <image> in the prompt for each image"
    return fill_placeholders(record, with_system(record, messages), images, advice)


def _messages(record: Record, name: str, role: str, marks: bool) -> tuple[Message, ...]:
    if isinstance(record.row.get(name), list):
        return read_messages(record, name, marks)
    text = record.text(name)
    parts = split_placeholders(text) if marks else (text,)
    return (Message("user" if role == "user" else "assistant", parts),)
