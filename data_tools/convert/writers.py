"""The output formats: how a conversation becomes a record, and what each format cannot express.

`WRITERS` is the table of formats. `FEATURES` counts in a conversation what some formats have no place for; a writer
lists the features it loses (the record is written without them) and refuses (the record is not written).
"""

from collections.abc import Callable
from dataclasses import dataclass

from llm.formats.columns import NO_OUTPUT
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.formats.image_placeholders import PLACEHOLDER

WriteImage = Callable[[ImageRef], object]
"""The entry of an image in a record: a path, bytes or a data URL."""

_FROM = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class Writer:
    """An output format: the function that makes its records, the reader that reads them, and its limits."""

    write: Callable[[Conversation, WriteImage], dict[str, object]]
    reader: str
    loses: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()


def _answers(conversation: Conversation) -> list[Message]:
    return [message for message in conversation.messages if message.role == "assistant"]


def _typed_placeholders(conversation: Conversation) -> int:
    return sum(message.text.count(PLACEHOLDER) for message in conversation.messages)


FEATURES: dict[str, tuple[Callable[[Conversation], int], str]] = {
    "images": (lambda it: len(it.images), "images"),
    "system": (lambda it: sum(message.role == "system" for message in it.messages), "system prompts"),
    "turns": (lambda it: int(len(_answers(it)) > 1), "records of several turns"),
    "loss": (lambda it: sum(not message.loss for message in _answers(it)), "loss flags of answers"),
    "plain": (lambda it: int(it.is_plain), "texts without a question"),
    "question": (lambda it: int(not it.is_plain), "records with a question"),
    "placeholder": (_typed_placeholders, f"{PLACEHOLDER} typed as text"),
    "placeholder beside images": (
        lambda it: _typed_placeholders(it) if it.images else 0,
        f"{PLACEHOLDER} typed beside images",
    ),
    "no output": (lambda it: sum(answer.text.strip() == NO_OUTPUT for answer in _answers(it)), f"answers {NO_OUTPUT}"),
}
"""feature -> (how often a conversation has it, its name in messages)."""


def join_texts(conversation: Conversation) -> Conversation:
    """The conversation with adjacent texts of a message joined; it renders the same."""
    messages = tuple(Message(one.role, _join_parts(one), one.loss) for one in conversation.messages)
    return Conversation(messages, conversation.place)


def _join_parts(message: Message) -> tuple[str | ImageRef, ...]:
    parts: list[str | ImageRef] = []
    for part in message.parts:
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    return tuple(parts)


def _with_placeholders(message: Message) -> str:
    """The text with `<image>` for every image, followed by a line break, which readers remove."""
    text = "".join(part if isinstance(part, str) else f"{PLACEHOLDER}\n" for part in message.parts)
    return text.removesuffix("\n") if isinstance(message.parts[-1], ImageRef) else text


def _system(conversation: Conversation) -> str:
    first = conversation.messages[0]
    return first.text if first.role == "system" else ""


def _turns(conversation: Conversation) -> tuple[Message, ...]:
    return conversation.messages[1:] if conversation.messages[0].role == "system" else conversation.messages


def _llava(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    images = [write_image(image) for image in conversation.images]
    row: dict[str, object] = {"image": images if len(images) > 1 else images[0]} if images else {}
    return row | _sharegpt(conversation, write_image)


def _sharegpt(conversation: Conversation, _write_image: WriteImage) -> dict[str, object]:
    system = _system(conversation)
    turns = [{"from": _FROM[message.role], "value": _with_placeholders(message)} for message in _turns(conversation)]
    return ({"system": system} if system else {}) | {"conversations": turns}


def _messages(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    turns = [_turn(message, _with_placeholders(message)) for message in conversation.messages]
    images = [write_image(image) for image in conversation.images]
    return {"messages": turns} | ({"images": images} if images else {})


def _openai(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    return {"messages": [_turn(message, _content(message, write_image)) for message in conversation.messages]}


def _turn(message: Message, content: object) -> dict[str, object]:
    turn: dict[str, object] = {"role": message.role, "content": content}
    return turn if message.loss else turn | {"loss": False}


def _content(message: Message, write_image: WriteImage) -> object:
    """A string, or a list of parts if there is an image."""
    if not any(isinstance(part, ImageRef) for part in message.parts):
        return message.text
    return [
        {"type": "image_url", "image_url": {"url": write_image(part)}}
        if isinstance(part, ImageRef)
        else {"type": "text", "text": part}
        for part in message.parts
    ]


def _alpaca(conversation: Conversation, _write_image: WriteImage) -> dict[str, object]:
    question, answer = _turns(conversation)
    return {"instruction": question.text, "input": "", "output": answer.text}


def _xtuner(conversation: Conversation, _write_image: WriteImage) -> dict[str, object]:
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


def _text(conversation: Conversation, _write_image: WriteImage) -> dict[str, object]:
    return {"text": conversation.messages[0].text}


WRITERS: dict[str, Writer] = {
    "llava": Writer(_llava, "llava", loses=("loss",), refuses=("plain", "placeholder")),
    "messages": Writer(_messages, "openai", refuses=("plain", "placeholder beside images")),
    "openai": Writer(_openai, "openai", refuses=("plain",)),
    "sharegpt": Writer(_sharegpt, "sharegpt", loses=("loss",), refuses=("plain", "images")),
    "xtuner": Writer(_xtuner, "xtuner", refuses=("images",)),
    "alpaca": Writer(_alpaca, "alpaca", loses=("system", "loss"), refuses=("plain", "images", "turns", "no output")),
    "text": Writer(_text, "text", refuses=("question",)),
}
