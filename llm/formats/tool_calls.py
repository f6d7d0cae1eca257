"""Tools and their calls as text: a call is part of an answer and supervised, its result is a user turn and is not.

Both have the tags of Hermes and Qwen models. The system prompt lists the tools, so a chat with tools must use the same
prompt.
"""

import json
import re

from llm.formats.conversation import Message
from llm.records.record import Record, kind
from llm.records.unread_fields import is_blank

Messages = tuple[Message, ...]
_JSON_ADVICE = "Correct the JSON inside the text"

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
    """The text of one result in the turn after the call; unchanged if it has the tags already."""
    return text if text.lstrip().startswith("<tool_response>") else f"<tool_response>\n{text}\n</tool_response>"


def read_call(record: Record) -> str:
    """One entry of OpenAI's `tool_calls`, or its `function`: a name and arguments, as an object or as JSON text."""
    nested = "function" in record.row or "name" not in record.row
    function = record.part("function", record.take("function")) if nested else record
    arguments = function.take("arguments")
    if isinstance(arguments, str):
        arguments = function.parsed("arguments", arguments, _JSON_ADVICE, "tool-call")
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


def parse_calls(turn: Record, name: str) -> list[str]:
    """The calls in the text of a ShareGPT turn `function_call`: JSON of one call or a list, or text with the tags."""
    value = turn.take(name)
    if isinstance(value, str) and value.lstrip().startswith("<tool_call>"):
        return [value]
    found = turn.parsed(name, value, _JSON_ADVICE, "tool-call") if isinstance(value, str) else value
    calls = found if isinstance(found, list) else [found]
    return [read_call(turn.part(name, one)) for one in calls]


def with_tools(record: Record, messages: Messages) -> Messages:
    """The messages with the row's `tools`, or OpenAI's older `functions`, appended to the system prompt.

    Tools that the system prompt lists already, as Hermes' data sets do, are not repeated.
    """
    name = next((name for name in ("tools", "functions") if not is_blank(record.row.get(name))), "")
    if not name or not messages or messages[0].role == "assistant":
        return messages
    tools = _tools(record, name)
    first = messages[0]
    try:
        offered = offer(tools)
    except RecursionError:
        raise record.error(name, "nested too deeply", "Tools are a few levels deep", "field-type") from None
    if first.role != "system":
        return (Message("system", (offered,)), *messages)
    if "<tools>" in first.text and all(tool in first.text for tool in map(_tool_name, tools)):
        return messages
    return (Message("system", (f"{first.text}\n\n{offered}",)), *messages[1:])


def _tools(record: Record, name: str) -> list[object]:
    """The tools as a list; from JSON text too, for all of them or for each, as parquet files have them."""
    tools = record.take(name)
    if isinstance(tools, str):
        tools = record.parsed(name, tools, _JSON_ADVICE, "tool-call")
    if isinstance(tools, dict):
        return [tools]
    if not isinstance(tools, list):
        raise record.error(name, f"is {kind(tools)}, not a list", "Write the tools as a list of objects", "field-type")
    return [record.parsed(name, tool, _JSON_ADVICE, "tool-call") if isinstance(tool, str) else tool for tool in tools]


def _tool_name(tool: object) -> str:
    inside = tool.get("function", tool) if isinstance(tool, dict) else tool
    name = inside.get("name") if isinstance(inside, dict) else None
    return name if isinstance(name, str) else json.dumps(tool, ensure_ascii=False)


def read_moss(record: Record) -> tuple[Message, ...]:
    """`{"meta_instruction", "chat": {"turn_1": {"Human", "Inner Thoughts", "Commands", "Tool Responses", "MOSS"}}}`.

    A turn with commands becomes a question, an answer with the call, a turn of results, and the final answer. Thoughts
    are part of the answer. MOSS's own control tokens are removed, since the chat template marks the roles.
    """
    chat = record.part("chat", record.take("chat"))
    system = record.optional("meta_instruction").strip()
    messages = [Message("system", (system,))] if system else []
    for name in _turn_names(chat):
        messages += _moss_turn(chat.part(name, chat.take(name)))
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
