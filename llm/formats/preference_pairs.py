"""TRL's forms of data and their relatives: a prompt with a completion, or with a chosen and a rejected answer."""

from dataclasses import dataclass, replace

from llm.formats.chat_turns import with_system
from llm.formats.conversation import Conversation, Message
from llm.formats.image_placeholders import SHOW_ADVICE, place_images, record_images
from llm.formats.pairs.scored_answers import as_pair, fits_scored
from llm.formats.turns.content_parts import split_text
from llm.formats.turns.message_turns import FROM_VALUE, ROLE_CONTENT, read_turns
from llm.formats.turns.table_turns import read_history
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank

_SIDES = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
_REJECTED = "rejected_response"  # ms-swift has it beside a complete conversation
_REJECTED_TURNS = "rejected_messages"  # ms-swift's, beside the chosen ones in `messages`
_PROMPTS = (("prompt",), ("messages",), ("conversations",), ("instruction", "input"), ("query",), ("question",))


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two conversations with one prompt; `margin` is the pair's own, which a recipe may ask for."""

    chosen: Conversation
    rejected: Conversation
    margin: float = 0.0


def read_preference(record: Record) -> tuple[Message, ...]:
    """`{"prompt", "chosen", "rejected"}`, each a text, a message or a list of messages: the chosen conversation.

    Supervised fine-tuning trains on the chosen answer; the rejected one is neither used nor checked. Lists that begin
    with a question are the complete conversation, including the prompt. Also read are OpenAI's `input` with
    `preferred_output`, LLaMA-Factory's `conversations` or `instruction` as the prompt, and a conversation of ms-swift
    with `rejected_response` or `rejected_messages`; of answers with scores the best is the chosen one.
    """
    record = as_pair(record)
    good, bad = _sides(record.row)
    record.ignore(bad)
    return _conversation(record, good)


def read_sides(record: Record) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The messages of the chosen and of the rejected conversation, not checked. RecordError for an empty answer."""
    record = as_pair(record)
    good, bad = _sides(record.row)
    for name in filter(None, (good, bad)):
        if is_blank(record.row.get(name)):
            found = "is missing" if record.row.get(name) is None else "is empty"
            raise record.error(name, found, "Write both answers, or remove the pair", "pair-empty")
    chosen = _conversation(record, good)
    return chosen, _rejected(record, bad, chosen)


def fits_preference(row: Row) -> bool:
    """Whether the row has a chosen and a rejected answer."""
    good, bad = _sides(row)
    return (bad in row and (good in row or good == "")) or fits_scored(row)


def read_prompt_completion(record: Record) -> tuple[Message, ...]:
    """`{"prompt", "completion"}`, each a text, a message or a list of messages, with images, system and history."""
    return _conversation(record, "completion")


def fits_prompt_completion(row: Row) -> bool:
    """Whether the row has a prompt and a completion as texts or as lists of messages."""
    return all(isinstance(row.get(name), str) or _is_turns(row.get(name)) for name in ("prompt", "completion"))


def _is_turns(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def _sides(row: Row) -> tuple[str, str]:
    """The fields of the chosen and of the rejected answer; the first is empty for a complete conversation."""
    if _REJECTED in row and not is_blank(row.get(_REJECTED)):
        return ("response" if isinstance(row.get("response"), str) else ""), _REJECTED
    if "messages" in row and not is_blank(row.get(_REJECTED_TURNS)):
        return "messages", _REJECTED_TURNS
    return next((pair for pair in _SIDES if pair[0] in row), _SIDES[0])


def _rejected(record: Record, name: str, chosen: tuple[Message, ...]) -> tuple[Message, ...]:
    if name == _REJECTED:
        return (*chosen[:-1], Message("assistant", (record.text(name),)))
    if name == _REJECTED_TURNS:
        turns = _messages(record, name, "assistant", record_images(record) != [])
        if turns[0].role == "assistant":  # the answer alone
            return (*chosen[: -len(turns)], *turns)
    return _conversation(record, name)


def _conversation(record: Record, name: str) -> tuple[Message, ...]:
    """The prompt and the answer under `name` with the record's system prompt, history and images."""
    images = record_images(record)
    marks = images != []
    answer = _messages(record, name, "assistant", marks) if name else ()
    if answer and answer[0].role != "assistant":
        record.repeats(*_repeated(record.row, name, answer))
        messages = answer
    else:
        messages = (*_prompt(record, marks), *answer)
    return place_images(record, with_system(record, [*read_history(record), *messages]), images, SHOW_ADVICE)


def _repeated(row: Row, name: str, messages: tuple[Message, ...]) -> list[str]:
    """The fields that repeat the beginning of a complete conversation."""
    turns, prompt = row.get(name), row.get("prompt")
    repeats = [key for key in ("messages", "conversations") if row.get(key) == turns]
    if isinstance(prompt, str):
        return [*repeats, "prompt"] if any(prompt.strip() in message.text for message in messages) else repeats
    begins = isinstance(turns, list) and isinstance(prompt, list) and turns[: len(prompt)] == prompt
    return [*repeats, "prompt"] if begins else repeats


def _prompt(record: Record, marks: bool) -> tuple[Message, ...]:
    if isinstance(record.row.get("input"), dict):  # OpenAI's
        return _messages(record.part("input", record.take("input")), "messages", "user", marks)
    names = next((names for names in _PROMPTS if not is_blank(record.row.get(names[0]))), _PROMPTS[0])
    if len(names) == 1:
        return _messages(record, names[0], "user", marks)
    text = "\n".join(filter(str.strip, (record.text(names[0]), record.optional(names[1]))))
    return (Message("user", split_text(record, names[0], text, marks)),)


def _messages(record: Record, name: str, role: str, marks: bool) -> tuple[Message, ...]:
    """A field as messages: a list of turns, one turn, or the text of a message from `role`."""
    value = record.row.get(name)
    if isinstance(value, dict):
        value = [value]
        record.repeats(name)
        record = replace(record, row={name: value})
    if isinstance(value, list):
        of_values = bool(value) and isinstance(value[0], dict) and "from" in value[0]
        return read_turns(record, name, FROM_VALUE if of_values else ROLE_CONTENT, marks)
    text = record.text(name)
    parts = split_text(record, name, text, marks) if role == "user" or marks else (text,)
    return (Message("user" if role == "user" else "assistant", parts),)
