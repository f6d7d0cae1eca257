"""A question and an answer in columns become a conversation, with the system prompt, history and images beside them."""

from collections.abc import Iterable

from llm.formats.conversation import Message, MessagePart
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images
from llm.formats.turns.content_parts import split_text
from llm.formats.turns.message_turns import ROLE_CONTENT, read_turns
from llm.records.record import Record, kind
from llm.records.unread_fields import is_blank

_PAIRS = (("human", "assistant"), ("user", "assistant"), ("query", "response"), ("question", "answer"))
_HISTORY_ADVICE = 'Write [["question", "answer"], ...], or messages with role and content'


def question_and_answer(question: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """A conversation of one question and one answer; without a system message if `system` is blank."""
    opening = (Message("system", (system,)),) if system.strip() else ()
    return (*opening, Message("user", (question,)), Message("assistant", (answer,)))


def table_conversation(record: Record, question: str, answer: str, system: str = "system") -> tuple[Message, ...]:
    """The conversation of one row of a table: `history` comes before the question, `system` names a column.

    Images of the row replace `<image>` in the questions, or precede the first one.
    """
    history = read_history(record)
    last = question_and_answer(question, answer)
    prompt = record.optional(system)
    opening = (Message("system", (prompt,)),) if prompt.strip() else ()
    return show_images(record, (*opening, *history, *last))


def show_images(record: Record, messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages with the images of the record in the placeholders of its questions, or before the first one."""
    images = record_images(record)
    messages = tuple(messages)
    if not images and not any("</img>" in message.text for message in messages):
        return messages
    turns = tuple(_split(record, message, bool(images)) for message in messages)
    return place_images(record, turns, images, SHOW_ADVICE)


def _split(record: Record, message: Message, marks: bool) -> Message:
    if message.role != "user" or not (marks or "</img>" in message.text):
        return message
    parts = tuple(piece for part in message.parts for piece in _split_part(record, part, marks))
    return Message(message.role, parts, message.loss)


def _split_part(record: Record, part: MessagePart, marks: bool) -> tuple[MessagePart, ...]:
    return split_text(record, "question", part, marks) if isinstance(part, str) else (part,)


def read_history(record: Record) -> list[Message]:
    """The turns before the question, from `history`: pairs of texts, or messages; also as JSON text."""
    if is_blank(record.row.get("history")):
        return []
    value = record.take("history")
    if isinstance(value, str):
        value = record.parsed("history", value, _HISTORY_ADVICE)
    if not isinstance(value, list):
        raise record.error("history", f"is {kind(value)}, not a list", _HISTORY_ADVICE, "field-type")
    if isinstance(value[0], dict) and "role" in value[0]:
        inside = Record(record.place, {"history": value}, record.format, record.images, record.columns, record.path)
        record.inside.append(inside)
        return list(read_turns(inside, "history", ROLE_CONTENT, marks=False))
    return [message for number, pair in enumerate(value) for message in _pair(record, f"history[{number}]", pair)]


def _pair(record: Record, name: str, pair: object) -> tuple[Message, Message]:
    if isinstance(pair, dict):
        part = record.part(name, pair)
        keys = next((keys for keys in _PAIRS if set(keys) <= set(pair)), _PAIRS[0])
        return Message("user", (part.text(keys[0]),)), Message("assistant", (part.text(keys[1]),))
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
        raise record.error(name, "is not a question and an answer", _HISTORY_ADVICE, "field-type")
    return Message("user", (str(pair[0]),)), Message("assistant", (str(pair[1]),))
