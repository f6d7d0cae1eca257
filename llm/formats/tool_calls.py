"""Tool calls as text: a call is part of an answer and supervised, its result is a user turn and is not.

Both have the tags of Hermes and Qwen models. The system prompt lists the tools, so a chat with tools must use the same
prompt.
"""

import json
import re

from llm.formats.conversation import Message
from llm.formats.row_files import Record, kind

_MOSS_OPENING = re.compile(r"\s*<\|[A-Za-z ]+\|>:")
_MOSS_END = re.compile(r"<eo[a-z]>\s*$")


def offer(tools: list[object]) -> str:
    """The part of a system prompt that lists the tools."""
    lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return f"You may call these tools:\n<tools>\n{lines}\n</tools>"


def call(text: str) -> str:
    """The text of one call in an answer."""
    return f"<tool_call>\n{text}\n</tool_call>"


def result(text: str) -> str:
    """The text of one result in the turn after the call."""
    return f"<tool_response>\n{text}\n</tool_response>"


def read_call(record: Record) -> str:
    """One entry of OpenAI's `tool_calls`: a function's name and its arguments, as an object or as JSON text."""
    function = record.part("function", record.row.get("function"))
    arguments = function.row.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:  # broken, a number of thousands of digits, or nested too deeply
            advice = "Correct the JSON inside the text"
            raise function.error("arguments", f"broken JSON ({error})", advice, "tool-call") from None
    if not isinstance(arguments, dict):
        raise function.error(
            "arguments", f"is {kind(arguments)}, not an object", "Write the arguments as an object", "tool-call"
        )
    name = function.text("name")
    try:
        return call(json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False))
    except RecursionError:
        advice = "Correct the arguments"
        raise function.error("arguments", "nested too deeply", advice, "tool-call") from None


def read_moss(record: Record) -> tuple[Message, ...]:
    """`{"meta_instruction", "chat": {"turn_1": {"Human", "Inner Thoughts", "Commands", "Tool Responses", "MOSS"}}}`.

    A turn with commands becomes a question, an answer with the call, a turn of results, and the final answer. Thoughts
    are part of the answer. MOSS's own control tokens are removed, since the chat template marks the roles.
    """
    chat = record.part("chat", record.row.get("chat"))
    system = record.optional("meta_instruction").strip()
    messages = [Message("system", (system,))] if system else []
    for name in _turn_names(chat):
        messages += _moss_turn(chat.part(name, chat.row[name]))
    return tuple(messages)


def _turn_names(chat: Record) -> list[str]:
    names = [f"turn_{number}" for number in range(1, len(chat.row) + 1)]
    if not names or set(names) != set(chat.row):
        found = f"has {', '.join(chat.row)}" if chat.row else "has no turns"
        raise chat.error("turn_1", found, "Number the turns turn_1, turn_2, ... without gaps", "turn-gap")
    return names


def _moss_turn(turn: Record) -> list[Message]:
    thoughts, commands = _bare(turn, "Inner Thoughts"), _bare(turn, "Commands")
    question, answer = Message("user", (_bare(turn, "Human"),)), _bare(turn, "MOSS")
    if not commands:
        return [question, Message("assistant", (_joined(thoughts, answer),))]
    return [
        question,
        Message("assistant", (_joined(thoughts, call(commands)),)),
        Message("user", (result(_bare(turn, "Tool Responses")),)),
        Message("assistant", (answer,)),
    ]


def _bare(turn: Record, name: str) -> str:
    """The text without MOSS's control tokens; MOSS writes `None` for an empty field."""
    text = _MOSS_END.sub("", _MOSS_OPENING.sub("", turn.optional(name), count=1)).strip()
    return "" if text == "None" and name not in ("Human", "MOSS") else text


def _joined(thoughts: str, text: str) -> str:
    return f"{thoughts}\n{text}" if thoughts else text
