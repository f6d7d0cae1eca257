"""Formats of conversations with several turns: XTuner, LLaVA, ShareGPT, oasst1; and plain text."""

import re
from collections.abc import Sequence

from llm.formats.conversation import Message, Role
from llm.formats.image_placeholders import PLACEHOLDER, fill_placeholders, record_images, split_placeholders
from llm.formats.row_files import Record, Row

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}
"""Names that data sets use for the three roles."""

_OASST_TURN = re.compile(r"### ?(Human|Assistant):")


def read_text(record: Record) -> tuple[Message, ...]:
    """`{"text"}`, or a text file: plain text, all of it supervised."""
    return (Message("assistant", (record.text("text"),)),)


def fits_text(row: Row) -> bool:
    """Whether the row has a text."""
    return isinstance(row.get("text"), str)


def read_xtuner(record: Record) -> tuple[Message, ...]:
    """`{"conversation": [{"system", "input", "output", "output_with_loss"?}, ...]}`, or one such turn.

    A single turn without system and input is plain text. Later turns may repeat the system prompt of the first.
    """
    turns = record.parts("conversation") if "conversation" in record.row else [record]
    system = turns[0].optional("system")
    messages = [Message("system", (system,))] if system.strip() else []
    for turn in turns:
        if turn.optional("system") not in ("", system):
            advice = "Give the system prompt on the first turn"
            raise turn.error("system", "differs from the first turn's", advice, "system-twice")
        answer = Message("assistant", (turn.text("output"),), turn.flag("output_with_loss", True))
        if len(turns) == 1 and not messages and not turn.optional("input").strip():
            return (answer,)
        messages += [Message("user", (turn.optional("input"),)), answer]
    return tuple(messages)


def fits_xtuner(row: Row) -> bool:
    """Whether the row has a list of turns with an output, or is one turn of input and output."""
    turns = row.get("conversation")
    if isinstance(turns, list):
        return bool(turns) and isinstance(turns[0], dict) and "output" in turns[0]
    return isinstance(row.get("input"), str) and isinstance(row.get("output"), str) and "instruction" not in row


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
    turns = row.get("conversations")
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and "from" in first and "value" in first


def read_sharegpt(record: Record) -> tuple[Message, ...]:
    """As LLaVA without images: `<image>` is text. Answers without a question and vice versa are left out."""
    if record_images(record):
        raise record.error("image", "this format has no images", "Use format: llava", "image-in-text-run")
    return trim_unpaired(_from_value(record, marks=False))


def read_wizardlm(record: Record) -> tuple[Message, ...]:
    """The two releases of WizardLM: ShareGPT turns, or instruction and output."""
    if "conversations" in record.row:
        return read_sharegpt(record)
    return Message("user", (record.text("instruction"),)), Message("assistant", (record.text("output"),))


def _from_value(record: Record, marks: bool) -> tuple[Message, ...]:
    messages = []
    for turn in record.parts("conversations"):
        text = turn.text("value")
        messages.append(Message(role_of(turn, "from"), split_placeholders(text) if marks else (text,)))
    return with_system(record, messages)


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


def role_of(turn: Record, name: str) -> Role:
    """The role of a turn, by any of its names."""
    found = turn.text(name)
    role = ROLES.get(found)
    if role is None:
        raise turn.error(name, f"{found!r} is not a role", f"Known are {', '.join(ROLES)}", "role-unknown")
    return role


def trim_unpaired(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages without leading answers and without trailing questions, which have no counterpart.

    If nothing would be left they are returned unchanged, for `check_conversation` to refuse.
    """
    opening = tuple(messages[:1]) if messages and messages[0].role == "system" else ()
    turns = list(messages[len(opening) :])
    while turns and turns[0].role == "assistant":
        del turns[0]
    while turns and turns[-1].role == "user":
        del turns[-1]
    return (*opening, *turns) if turns else tuple(messages)


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
