"""Formats of conversations with several turns: XTuner, ms-swift, LLaVA, ShareGPT, oasst1; and plain text."""

import re
from collections.abc import Sequence

from llm.formats.conversation import ImageRef, Message
from llm.formats.image_placeholders import PLACEHOLDER, fill_placeholders, record_images
from llm.formats.refused_formats import is_yolo
from llm.formats.turns.message_turns import FROM_VALUE, ROLES, read_turns, trim_unpaired
from llm.formats.turns.table_turns import read_history, show_images, table_conversation
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank

_OASST_TURN = re.compile(r"### ?(Human|Assistant):")


def read_text(record: Record) -> tuple[Message, ...]:
    """`{"text"}`, or a text file: plain text, all of it supervised."""
    text = record.text("text")
    if is_yolo(text):
        advice = "Name a file of records rather than a folder of label files"
        raise record.error("text", "boxes of YOLO, which cannot be trained on", advice, "format-refused")
    return (Message("assistant", (text,)),)


def fits_text(row: Row) -> bool:
    """Whether the row has a text."""
    return isinstance(row.get("text"), str)


def read_xtuner(record: Record) -> tuple[Message, ...]:
    """`{"conversation": [{"system", "input", "output", "output_with_loss"?}, ...]}`, or one such turn.

    A single turn without system and input is plain text. Later turns may repeat the system prompt of the first. Images
    and a history of the record are read as those of tables.
    """
    turns = record.parts("conversation") if "conversation" in record.row else [record]
    system = turns[0].optional("system")
    messages = read_history(record)
    for turn in turns:
        if turn.optional("system") not in ("", system):
            advice = "Give the system prompt on the first turn"
            raise turn.error("system", "differs from the first turn's", advice, "system-twice")
        answer = Message("assistant", (turn.text("output"),), turn.flag("output_with_loss", True))
        if len(turns) == 1 and not messages and not system.strip() and _is_plain(record, turn):
            return (answer,)
        messages += [Message("user", (turn.optional("input"),)), answer]
    if system.strip():
        messages.insert(0, Message("system", (system,)))
    return show_images(record, messages if turns[0] is record else with_system(record, messages))


def _is_plain(record: Record, turn: Record) -> bool:
    return not turn.optional("input").strip() and all(is_blank(record.row.get(name)) for name in ("image", "images"))


def fits_xtuner(row: Row) -> bool:
    """Whether the row has a list of turns with an output, or is one turn of input and output."""
    if "conversation" in row:
        return "output" in _first_turn(row, "conversation")
    return isinstance(row.get("input"), str) and isinstance(row.get("output"), str) and "instruction" not in row


def read_swift(record: Record) -> tuple[Message, ...]:
    """`{"system"?, "conversation": [{"human", "assistant"}, ...], "images"?}`, which ms-swift calls ShareGPT."""
    messages: list[Message] = []
    for turn in record.parts("conversation"):
        messages += [Message("user", (turn.text("human"),)), Message("assistant", (turn.text("assistant"),))]
    return show_images(record, with_system(record, messages))


def fits_swift(row: Row) -> bool:
    """Whether the row has a list of turns with human and assistant."""
    return {"human", "assistant"} <= set(_first_turn(row, "conversation"))


def _first_turn(row: Row, name: str) -> Row:
    """The first turn of a list; empty if there is none."""
    turns = row.get(name)
    first = turns[0] if isinstance(turns, list) and turns else None
    return first if isinstance(first, dict) else {}


def read_llava(record: Record) -> tuple[Message, ...]:
    """`{"image"?, "conversations": [{"from", "value"}, ...]}`: each `<image>` is one of the row's images."""
    images = record_images(record)
    if images:
        advice = f"Write one {PLACEHOLDER} in the questions for each image in `image`"
    else:
        advice = f"Name the image in `image`; if {PLACEHOLDER} is ordinary text, use format: sharegpt"
    return fill_placeholders(record, _from_value(record, marks=True), images, advice)


def fits_llava(row: Row) -> bool:
    """Whether the row has a list of turns with from and value."""
    return {"from", "value"} <= set(_first_turn(row, "conversations"))


def read_sharegpt(record: Record) -> tuple[Message, ...]:
    """As LLaVA without images: `<image>` is text. Answers without a question and vice versa are left out."""
    messages = _from_value(record, marks=False)
    if record_images(record) or any(isinstance(part, ImageRef) for turn in messages for part in turn.parts):
        raise record.error("image", "this format has no images", "Use format: llava", "image-in-text-run")
    return trim_unpaired(messages)


def read_wizardlm(record: Record) -> tuple[Message, ...]:
    """The two releases of WizardLM: ShareGPT turns, or instruction and output."""
    if "conversations" in record.row:
        return read_sharegpt(record)
    record.ignore("input")  # WizardLM's is empty
    return table_conversation(record, record.text("instruction"), record.text("output"))


def _from_value(record: Record, marks: bool) -> tuple[Message, ...]:
    return with_system(record, read_turns(record, "conversations", FROM_VALUE, marks))


def with_system(record: Record, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages after the row's `system` text, if it has one. RecordError when there is no question."""
    if all(message.role != "user" for message in messages):
        advice = 'Add the question; text without one is written as {"text": ...}'
        raise record.error("question", "there is none", advice, "question-missing")
    system = record.optional("system")
    if not system.strip():
        return tuple(messages)
    if messages[0].role == "system":
        raise record.error("system", "is given in addition to a system turn", "Keep one of the two", "system-twice")
    return (Message("system", (system,)), *messages)


def read_oasst1(record: Record) -> tuple[Message, ...]:
    """`{"text": "### Human: ... ### Assistant: ..."}`; a last question without an answer is left out."""
    before, *pieces = _OASST_TURN.split(record.text("text"))
    if before.strip() or not pieces:
        raise record.error("text", "does not begin with '### Human:'", code="text-form")
    names = {"Human": "user", "Assistant": "assistant"}
    turns = zip(pieces[::2], pieces[1::2], strict=True)
    return trim_unpaired([Message(ROLES[names[name]], (text.strip(),)) for name, text in turns])


def fits_oasst1(row: Row) -> bool:
    """Whether the row has a text that begins with `### Human:`."""
    text = row.get("text")
    return isinstance(text, str) and text.lstrip().startswith("### Human:")
