"""The formats that are written: a conversation becomes a row, and what a format has no place for is said as data.

`WRITERS` is the table. `FEATURES` counts in a conversation what some format cannot say; each writer names those it
loses (the row is written without them) and those it cannot do without (the row is refused).
"""

from collections.abc import Callable
from dataclasses import dataclass

from llm.formats.columns import NO_OUTPUT
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.formats.image_placeholders import PLACEHOLDER

WriteImage = Callable[[ImageRef], object]
"""How an image is written into a row: a path, bytes or a data URL."""

_FROM = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class Writer:
    """One format: how its rows are made, the reader of llm.formats.readers that takes them back, and its limits."""

    write: Callable[[Conversation, WriteImage], dict[str, object]]
    reader: str
    loses: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()


def _answers(conversation: Conversation) -> list[Message]:
    return [message for message in conversation.messages if message.role == "assistant"]


def _typed_marks(conversation: Conversation) -> int:
    return sum(message.text.count(PLACEHOLDER) for message in conversation.messages)


FEATURES: dict[str, tuple[Callable[[Conversation], int], str]] = {
    "pictures": (lambda it: len(it.images), "pictures"),
    "system": (lambda it: sum(message.role == "system" for message in it.messages), "system prompts"),
    "turns": (lambda it: int(len(_answers(it)) > 1), "rows of several turns"),
    "loss": (lambda it: sum(not message.loss for message in _answers(it)), "loss flags of answers"),
    "plain": (lambda it: int(it.is_plain), "texts without a question"),
    "question": (lambda it: int(not it.is_plain), "rows with a question"),
    "mark": (_typed_marks, f"{PLACEHOLDER} typed as text"),
    "mark beside pictures": (lambda it: _typed_marks(it) if it.images else 0, f"{PLACEHOLDER} typed beside pictures"),
    "no output": (lambda it: sum(answer.text.strip() == NO_OUTPUT for answer in _answers(it)), f"answers {NO_OUTPUT}"),
}
"""feature -> (how often a conversation has it, its name for people)."""


def joined(conversation: Conversation) -> Conversation:
    """The conversation with neighbouring texts of a turn made one, as rendering takes them anyway."""
    messages = tuple(Message(one.role, _joined(one), one.loss) for one in conversation.messages)
    return Conversation(messages, conversation.place)


def _joined(message: Message) -> tuple[str | ImageRef, ...]:
    parts: list[str | ImageRef] = []
    for part in message.parts:
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    return tuple(parts)


def _marked(message: Message) -> str:
    """The text with `<image>` for every image and, behind it, the line break that readers take off."""
    text = "".join(part if isinstance(part, str) else f"{PLACEHOLDER}\n" for part in message.parts)
    return text.removesuffix("\n") if isinstance(message.parts[-1], ImageRef) else text


def _system(conversation: Conversation) -> str:
    first = conversation.messages[0]
    return first.text if first.role == "system" else ""


def _turns(conversation: Conversation) -> tuple[Message, ...]:
    return conversation.messages[1:] if conversation.messages[0].role == "system" else conversation.messages


def _llava(conversation: Conversation, show: WriteImage) -> dict[str, object]:
    images = [show(image) for image in conversation.images]
    row: dict[str, object] = {"image": images if len(images) > 1 else images[0]} if images else {}
    return row | _sharegpt(conversation, show)


def _sharegpt(conversation: Conversation, _show: WriteImage) -> dict[str, object]:
    system = _system(conversation)
    turns = [{"from": _FROM[message.role], "value": _marked(message)} for message in _turns(conversation)]
    return ({"system": system} if system else {}) | {"conversations": turns}


def _messages(conversation: Conversation, show: WriteImage) -> dict[str, object]:
    turns = [_turn(message, _marked(message)) for message in conversation.messages]
    images = [show(image) for image in conversation.images]
    return {"messages": turns} | ({"images": images} if images else {})


def _openai(conversation: Conversation, show: WriteImage) -> dict[str, object]:
    return {"messages": [_turn(message, _content(message, show)) for message in conversation.messages]}


def _turn(message: Message, content: object) -> dict[str, object]:
    turn: dict[str, object] = {"role": message.role, "content": content}
    return turn if message.loss else turn | {"loss": False}


def _content(message: Message, show: WriteImage) -> object:
    """Text as it is; with an image, a list of parts."""
    if not any(isinstance(part, ImageRef) for part in message.parts):
        return message.text
    return [
        {"type": "image_url", "image_url": {"url": show(part)}}
        if isinstance(part, ImageRef)
        else {"type": "text", "text": part}
        for part in message.parts
    ]


def _alpaca(conversation: Conversation, _show: WriteImage) -> dict[str, object]:
    question, answer = _turns(conversation)
    return {"instruction": question.text, "input": "", "output": answer.text}


def _xtuner(conversation: Conversation, _show: WriteImage) -> dict[str, object]:
    if conversation.is_plain:
        return {"conversation": [{"system": "", "input": "", "output": conversation.messages[0].text}]}
    turns: list[dict[str, object]] = []
    opening = {"system": _system(conversation)}
    messages = _turns(conversation)
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        turn: dict[str, object] = {**opening, "input": question.text, "output": answer.text}
        turns.append(turn if answer.loss else turn | {"output_with_loss": False})
        opening = {}
    return {"conversation": turns}


def _text(conversation: Conversation, _show: WriteImage) -> dict[str, object]:
    return {"text": conversation.messages[0].text}


WRITERS: dict[str, Writer] = {
    "llava": Writer(_llava, "llava", loses=("loss",), refuses=("plain", "mark")),
    "messages": Writer(_messages, "openai", refuses=("plain", "mark beside pictures")),
    "openai": Writer(_openai, "openai", refuses=("plain",)),
    "sharegpt": Writer(_sharegpt, "sharegpt", loses=("loss",), refuses=("plain", "pictures")),
    "xtuner": Writer(_xtuner, "xtuner", refuses=("pictures",)),
    "alpaca": Writer(_alpaca, "alpaca", loses=("system", "loss"), refuses=("plain", "pictures", "turns", "no output")),
    "text": Writer(_text, "text", refuses=("question",)),
}
