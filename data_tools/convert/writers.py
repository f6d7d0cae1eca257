"""The output formats: how a conversation becomes a record, and what each format cannot express.

`WRITERS` is the table of formats. `FEATURES` counts in a conversation what some formats have no place for; a writer
lists the features it loses (the record is written without them) and refuses (the record is not written).
"""

from collections.abc import Callable
from dataclasses import dataclass

from llm.formats.columns import NO_OUTPUT
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart, VideoRef
from llm.formats.image_placeholders import PLACEHOLDER, VIDEO_PLACEHOLDER

WriteImage = Callable[[ImageRef | VideoRef], object]
"""The entry of an image or a video in a record: a path, bytes or a data URL."""

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


def _typed_videos(conversation: Conversation) -> int:
    return sum(message.text.count(VIDEO_PLACEHOLDER) for message in conversation.messages)


FEATURES: dict[str, tuple[Callable[[Conversation], int], str]] = {
    "images": (lambda it: len(it.images), "images"),
    "videos": (lambda it: len(it.videos), "videos"),
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
    "video-typed": (_typed_videos, f"{VIDEO_PLACEHOLDER} typed as text"),
    "video-beside": (
        lambda it: _typed_videos(it) if it.videos else 0,
        f"{VIDEO_PLACEHOLDER} typed beside videos",
    ),
    "no output": (lambda it: sum(answer.text.strip() == NO_OUTPUT for answer in _answers(it)), f"answers {NO_OUTPUT}"),
}
"""feature -> (how often a conversation has it, its name in messages)."""


def join_texts(conversation: Conversation) -> Conversation:
    """The conversation with adjacent texts of a message joined; it renders the same."""
    messages = tuple(Message(one.role, _join_parts(one), one.loss) for one in conversation.messages)
    return Conversation(messages, conversation.place)


def _join_parts(message: Message) -> tuple[MessagePart, ...]:
    parts: list[MessagePart] = []
    for part in message.parts:
        last = parts[-1] if parts else None
        if isinstance(part, str) and isinstance(last, str):
            parts[-1] = last + part
        elif part != "":
            parts.append(part)
    return tuple(parts)


def _with_placeholders(message: Message) -> str:
    """The text with `<image>` and `<video>` in place of media, each followed by a line break, which readers remove."""
    text = "".join(part if isinstance(part, str) else f"{_mark(part)}\n" for part in message.parts)
    return text if isinstance(message.parts[-1], str) else text.removesuffix("\n")


def _mark(part: ImageRef | VideoRef) -> str:
    return VIDEO_PLACEHOLDER if isinstance(part, VideoRef) else PLACEHOLDER


def _system(conversation: Conversation) -> str:
    first = conversation.messages[0]
    return first.text if first.role == "system" else ""


def _turns(conversation: Conversation) -> tuple[Message, ...]:
    return conversation.messages[1:] if conversation.messages[0].role == "system" else conversation.messages


def _llava(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, media in (("image", conversation.images), ("video", conversation.videos)):
        written = [write_image(one) for one in media]
        row |= {name: written if len(written) > 1 else written[0]} if written else {}
    return row | _sharegpt(conversation, write_image)


def _sharegpt(conversation: Conversation, _write_image: WriteImage) -> dict[str, object]:
    system = _system(conversation)
    turns = [{"from": _FROM[message.role], "value": _with_placeholders(message)} for message in _turns(conversation)]
    return ({"system": system} if system else {}) | {"conversations": turns}


def _messages(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    turns = [_turn(message, _with_placeholders(message)) for message in conversation.messages]
    row: dict[str, object] = {"messages": turns}
    for name, media in (("images", conversation.images), ("videos", conversation.videos)):
        row |= {name: [write_image(one) for one in media]} if media else {}
    return row


def _openai(conversation: Conversation, write_image: WriteImage) -> dict[str, object]:
    return {"messages": [_turn(message, _content(message, write_image)) for message in conversation.messages]}


def _turn(message: Message, content: object) -> dict[str, object]:
    turn: dict[str, object] = {"role": message.role, "content": content}
    return turn if message.loss else turn | {"loss": False}


def _content(message: Message, write_image: WriteImage) -> object:
    """A string, or a list of parts if there is an image or a video."""
    if all(isinstance(part, str) for part in message.parts):
        return message.text
    return [_part(part, write_image) for part in message.parts]


def _part(part: MessagePart, write_image: WriteImage) -> dict[str, object]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = "video_url" if isinstance(part, VideoRef) else "image_url"
    return {"type": kind, kind: {"url": write_image(part)}}


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


_BESIDE = ("placeholder beside images", "video-beside")

WRITERS: dict[str, Writer] = {
    "llava": Writer(_llava, "llava", loses=("loss",), refuses=("plain", "placeholder", "video-typed")),
    "messages": Writer(_messages, "openai", refuses=("plain", *_BESIDE)),
    "openai": Writer(_openai, "openai", refuses=("plain",)),
    "sharegpt": Writer(_sharegpt, "sharegpt", loses=("loss",), refuses=("plain", "images", "videos")),
    "xtuner": Writer(_xtuner, "xtuner", refuses=("images", "videos")),
    "alpaca": Writer(
        _alpaca, "alpaca", loses=("system", "loss"), refuses=("plain", "images", "videos", "turns", "no output")
    ),
    "text": Writer(_text, "text", refuses=("question",)),
}
