"""OpenAI's message format: text or a list of parts, loss flags, tool calls and their results."""

from llm.formats.chat_turns import role_of, with_system
from llm.formats.conversation import Message, MessagePart
from llm.formats.image_placeholders import UNFILLED, fill_placeholders, image_ref, record_images, split_placeholders
from llm.formats.row_files import Record, Row, kind
from llm.formats.tool_calls import offer, read_call, result

_TOOL_ROLES = ("tool", "function")
_IMAGE_KEYS = ("image", "path", "url")  # keys of an image part, in OpenAI's and transformers' forms


def read_openai(record: Record) -> tuple[Message, ...]:
    """`{"messages": [{"role", "content", "loss"?}, ...], "images"?, "tools"?}`.

    Content is text or a list of text, image and image_url parts. Image parts without an image, and `<image>` in the
    text of a row with images, take the row's images in order.
    """
    images = record_images(record)
    messages = read_messages(record, _turns_key(record.row), marks=bool(images))
    advice = "Give one image for each image part, or one <image> in the text for each image"
    return fill_placeholders(record, _with_tools(record, with_system(record, messages)), images, advice)


def fits_openai(row: Row) -> bool:
    """Whether the row has a list of turns with role and content."""
    turns = row.get(_turns_key(row))
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and "role" in first and "content" in first


def _turns_key(row: Row) -> str:
    return "conversations" if "messages" not in row and "conversations" in row else "messages"


def read_messages(record: Record, name: str, marks: bool) -> tuple[Message, ...]:
    """The turns under the key `name`. `marks`: `<image>` in their text is a placeholder. Consecutive tool results are
    joined in one turn.
    """
    messages: list[Message] = []
    after_tool = False
    for turn in record.parts(name):
        is_tool = turn.text("role") in _TOOL_ROLES
        message = _tool_result(turn) if is_tool else _message(turn, marks)
        if is_tool and after_tool:
            message = Message("user", (f"{messages.pop().text}\n{message.text}",))
        messages.append(message)
        after_tool = is_tool
    return tuple(messages)


def _tool_result(turn: Record) -> Message:
    return Message("user", (result(_only_text(turn)),))


def _message(turn: Record, marks: bool) -> Message:
    role = role_of(turn, "role")
    calls = _calls(turn)
    if calls and role != "assistant":
        raise turn.error("tool_calls", f"is in a turn of the {role}", "Only answers call tools", "tool-call")
    loss = _loss(turn)
    if role != "assistant":
        if loss:
            raise turn.error(
                "loss", f"true in a turn of the {role}", "Only answers have loss: remove the flag", "loss-flag"
            )
        return Message(role, _content(turn, marks))
    if not calls:
        return Message(role, _content(turn, marks), loss is not False)
    written = [] if turn.row.get("content") in (None, "") else [_only_text(turn)]
    return Message(role, ("\n".join([*written, *calls]),), loss is not False)


def _only_text(turn: Record) -> str:
    parts = _content(turn, marks=False)
    if any(not isinstance(part, str) for part in parts):
        raise turn.error("content", "holds an image", "Tool calls and their results are text", "image-place")
    return "".join(map(str, parts))


def _calls(turn: Record) -> list[str]:
    if turn.row.get("function_call"):
        raise turn.error("function_call", "is the deprecated form of tool_calls", "Write it as tool_calls", "tool-call")
    return [read_call(one) for one in turn.parts("tool_calls")] if turn.row.get("tool_calls") else []


def _loss(turn: Record) -> bool | None:
    """The loss flag, as `loss` or as OpenAI's `weight` of 0 or 1; None when the turn has neither."""
    if turn.row.get("loss") is not None:
        return turn.flag("loss", True)
    weight = turn.row.get("weight")
    if weight is None:
        return None
    if weight not in (0, 1):
        advice = "Write 0 to leave the answer out of the loss"
        raise turn.error("weight", f"{weight!r} is neither 0 nor 1", advice, "loss-flag")
    return bool(weight)


def _content(turn: Record, marks: bool) -> tuple[MessagePart, ...]:
    if not isinstance(turn.row.get("content"), list):
        text = turn.text("content")
        return split_placeholders(text) if marks else (text,)
    return tuple(_part(part) for part in turn.parts("content"))


def _part(part: Record) -> MessagePart:
    name = part.text("type")
    if name == "text":
        return part.text("text")
    if name == "image_url":
        value = part.row.get("image_url")
        return image_ref(part, "image_url", value.get("url") if isinstance(value, dict) else value)
    if name == "image":
        own = [key for key in _IMAGE_KEYS if part.row.get(key) is not None]
        return image_ref(part, own[0], part.row[own[0]]) if own else UNFILLED
    raise part.error("type", f"{name!r} is not supported", "Known parts are text, image and image_url", "part-type")


def _with_tools(record: Record, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with the row's `tools` appended to the system prompt."""
    tools = record.row.get("tools")
    if tools in (None, [], ""):
        return messages
    if not isinstance(tools, list):
        raise record.error(
            "tools", f"is {kind(tools)}, not a list", "Write the tools as a list of objects", "field-type"
        )
    try:
        offered = offer(tools)
    except RecursionError:
        raise record.error("tools", "nested too deeply", "Tools are a few levels deep", "field-type") from None
    if messages[0].role != "system":
        return (Message("system", (offered,)), *messages)
    return (Message("system", (f"{messages[0].text}\n\n{offered}",)), *messages[1:])
