"""Turns of all data sets with a role and a content each become messages: the one place that interprets roles.

Answers may have a loss flag, thoughts and tool calls. Results of tools are turns of the user. What a turn holds beside
that is not read, and `llm.records.unread_fields` reports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llm.formats.conversation import Message, Role
from llm.formats.tool_calls import parse_calls, read_call, result
from llm.formats.turns.content_parts import Content, count_img_tags, plain_content, read_content
from llm.records.record import Record
from llm.records.unread_fields import is_blank

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""Names that data sets use for the three roles, in lower case."""

CALL_ROLES = frozenset({"function_call", "tool_call", "tool_calls"})
"""Roles of answers whose content is the JSON text of tool calls."""
RESULT_ROLES = frozenset({"tool", "function", "observation", "tool_response", "function_response", "ipython"})

_FLAGS = ("loss", "weight", "loss_weight", "train", "training", "trainable")
_FLAGGED = frozenset({*_FLAGS, "masked"})
_MEDIA = "holds an image or a video"
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thought")


@dataclass(frozen=True, slots=True)
class TurnKeys:
    """The keys of a turn's role and content."""

    role: str
    content: str


ROLE_CONTENT = TurnKeys("role", "content")
FROM_VALUE = TurnKeys("from", "value")


@dataclass(frozen=True, slots=True)
class _Turn:
    message: Message
    kind: str  # "call" and "result" join the turn before them; empty for others


def read_turns(record: Record, name: str, keys: TurnKeys, marks: bool) -> tuple[Message, ...]:
    """The turns under the key `name`. `marks`: `<image>` in their text is a slot for an image of the record.

    Consecutive results of tools are joined in one turn, and so are consecutive calls, with the answer before them.
    """
    turns = record.items(name)
    numbered = sum([count_img_tags(turn.get(keys.content)) for turn in turns if isinstance(turn, dict)]) > 1
    messages: list[Message] = []
    before = ""
    for index, turn in enumerate(turns):
        if plain := _plain_turn(record, f"{name}[{index}]", turn, keys, marks):
            messages.append(plain)
            before = ""
            continue
        read = _read_turn(record.part(f"{name}[{index}]", turn), keys, marks, numbered)
        calls_on = read.kind == "call" and bool(messages) and messages[-1].role == "assistant"
        if calls_on or (read.kind == "result" and before == "result"):
            messages[-1] = _joined(messages[-1], read.message)
        else:
            messages.append(read.message)
        before = read.kind
    return tuple(messages)


def _joined(first: Message, second: Message) -> Message:
    return Message(first.role, (f"{first.text}\n{second.text}",), first.loss)


def _plain_turn(record: Record, name: str, turn: object, keys: TurnKeys, marks: bool) -> Message | None:
    """The message of a turn that is nothing but a role and plain content, as most turns are; None for others."""
    if not isinstance(turn, dict) or len(turn) != 2 or keys.content not in turn:
        return None
    called = turn.get(keys.role)
    role = ROLES.get(called) if isinstance(called, str) else None
    if role is None:
        return None
    parts = plain_content(record, f"{name}.{keys.content}", turn[keys.content], marks)
    return None if parts is None else Message(role, parts)


def _read_turn(turn: Record, keys: TurnKeys, marks: bool, numbered: bool) -> _Turn:
    name = turn.text(keys.role)
    if name.lower() in RESULT_ROLES:
        return _Turn(Message("user", (result(_only_text(turn, keys)),)), "result")
    if name.lower() in CALL_ROLES:
        calls = "\n".join(parse_calls(turn, keys.content))
        return _Turn(Message("assistant", (calls,), _loss(turn, "assistant")), "call")
    role = role_of(turn, keys.role)
    if role != "assistant":
        return _question(turn, role, keys, marks, numbered)
    return _Turn(_answer(turn, keys, marks, numbered), "")


def _question(turn: Record, role: Role, keys: TurnKeys, marks: bool, numbered: bool) -> _Turn:
    if not is_blank(turn.row.get("tool_calls")):
        raise turn.error("tool_calls", f"is in a turn of the {role}", "Only answers call tools", "tool-call")
    _loss(turn, role)
    content = read_content(turn, keys.content, marks, numbered)
    if content.calls or content.thoughts:
        raise turn.error(keys.content, f"a call or thought of the {role}", "Only answers have them", "part-type")
    if content.results:
        return _Turn(Message(role, (*("\n".join(content.results),), *content.parts)), "result")
    return _Turn(Message(role, content.parts), "")


def _answer(turn: Record, keys: TurnKeys, marks: bool, numbered: bool) -> Message:
    calls = _calls(turn)
    loss = _loss(turn, "assistant")
    empty = bool(calls) and turn.take(keys.content) in (None, "")
    content = Content() if empty else read_content(turn, keys.content, marks, numbered)
    calls = [*calls, *content.calls]
    if content.results:
        raise turn.error(keys.content, "a tool result in an answer", "Write it in the next turn", "part-type")
    if calls and content.has_media:
        raise turn.error(
            keys.content, "holds an image or a video", "Tool calls and their results are text", "image-place"
        )
    thoughts = _thoughts(turn, content)
    if not calls and not thoughts:
        return Message("assistant", content.parts, loss)
    said = "\n".join(filter(None, (content.text, *calls))) if calls else content.text
    images = tuple(part for part in content.parts if not isinstance(part, str))
    return Message("assistant", (*images, thoughts + said), loss)


def _thoughts(turn: Record, content: Content) -> str:
    """The thoughts of an answer as Qwen3's template writes them before it; empty for none."""
    given = [name for name in _THOUGHTS if isinstance(turn.row.get(name), str) and not is_blank(turn.row.get(name))]
    texts = [turn.text(given[0])] if given else list(content.thoughts)
    turn.repeats(*(name for name in given[1:] if turn.row[name] == texts[0]))  # vLLM writes them under two names
    if not texts or not (joined := "\n".join(texts).strip("\n")).strip():
        return ""
    if "</think>" in content.text:
        advice = "Keep the thoughts in one of the two"
        where = given[0] if given else "content"
        raise turn.error(where, "thoughts, while the answer has <think> of its own", advice, "thoughts-twice")
    return f"<think>\n{joined}\n</think>\n\n"


def _only_text(turn: Record, keys: TurnKeys) -> str:
    content = read_content(turn, keys.content, marks=False)
    if content.has_media:
        raise turn.error(
            keys.content, "holds an image or a video", "Tool calls and their results are text", "image-place"
        )
    return content.text


def _calls(turn: Record) -> list[str]:
    calls = [] if turn.take("tool_calls") in (None, "", []) else [read_call(one) for one in turn.parts("tool_calls")]
    if not is_blank(turn.row.get("function_call")):  # OpenAI's form before tool_calls
        calls.append(read_call(turn.part("function_call", turn.take("function_call"))))
    return calls


def _loss(turn: Record, role: Role) -> bool:
    """Whether an answer has loss: by `loss`, OpenAI's `weight`, LLaMA-Factory's `loss_weight` or Axolotl's `train`."""
    if _FLAGGED.isdisjoint(turn.row):
        return True
    flags = {name: _flag(turn, name) for name in _FLAGS if turn.row.get(name) is not None}
    if turn.row.get("masked") is not None:
        flags["masked"] = not turn.flag("masked", False)
    name, loss = next(iter(flags.items()), ("", True))
    if role != "assistant" and name and loss:
        advice = "Only answers have loss: remove the flag"
        raise turn.error(name, f"true in a turn of the {role}", advice, "loss-flag")
    return loss


def _flag(turn: Record, name: str) -> bool:
    value = turn.row.get(name)
    if isinstance(value, bool) or (name == "loss" and not isinstance(value, int | float)):
        return turn.flag(name, True)
    if turn.take(name) not in (0, 1):
        advice = "Write 0 to leave the answer out of the loss, and 1 or nothing to train on it"
        raise turn.error(name, f"{value!r} is neither 0 nor 1", advice, "loss-flag")
    return bool(value)


def role_of(turn: Record, name: str) -> Role:
    """The role of a turn, by any of its names."""
    found = turn.text(name)
    role = ROLES.get(found.lower())
    if role is None:
        known = ", ".join((*ROLES, *sorted(CALL_ROLES | RESULT_ROLES)))
        raise turn.error(name, f"{found!r} is not a role", f"Known are {known}", "role-unknown")
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
