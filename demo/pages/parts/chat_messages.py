"""What was said on the page becomes messages."""

import html
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any, Literal

import gradio as gr

from demo.server.input_checks import judged
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.errors import EyegraftError
from llm.formats.conversation import ImageRef, Message, MessagePart

QuestionInput = dict[str, Any]  # of a MultimodalTextbox: {"text": str, "files": [path, ...]}
ChatTurn = dict[str, Any]  # of a Chatbot: {"role": str, "content": str or a list of texts and files}


def conversation(
    history: Iterable[ChatTurn], asked: QuestionInput | str, system: str, limits: Limits
) -> tuple[Message, ...]:
    """The whole conversation up to the question, judged. Raises RecordError and ImageError for what is refused."""
    messages = [Message("system", (system.strip(),))] if system.strip() else []
    for turn in history:
        role: Literal["user", "assistant"] = "assistant" if turn["role"] == "assistant" else "user"
        _add(messages, role, _parts(turn["content"]))
    _add(messages, "user", parts_of_question(asked))
    return judged(tuple(messages), limits)


def parts_of_question(asked: QuestionInput | str) -> tuple[MessagePart, ...]:
    """Pictures, then text. A question that is asked again holds its files as the chat does, not as a box does; one
    that was edited is a text.
    """
    if isinstance(asked, str):
        return (asked.strip(),) if asked.strip() else ()
    pictures = tuple(_picture(file["path"] if isinstance(file, dict) else file) for file in asked.get("files") or ())
    text = (asked.get("text") or "").strip()
    return (*pictures, text) if text else pictures


def _add(messages: list[Message], role: Literal["user", "assistant"], parts: tuple[MessagePart, ...]) -> None:
    """Append a turn, or join it to one of the same role: an answer that was stopped at once left two questions."""
    if not any(part if isinstance(part, ImageRef) else part.strip() for part in parts):
        return
    if messages and messages[-1].role == role:
        before = messages.pop()
        joint = ("\n",) if isinstance(before.parts[-1], str) and isinstance(parts[0], str) else ()
        parts = (*before.parts, *joint, *parts)
    messages.append(Message(role, parts))


def _parts(content: Any) -> tuple[MessagePart, ...]:
    """The browser sends lists of typed parts, gradio's own client plain texts and files."""
    if isinstance(content, list | tuple):
        return tuple(part for item in content for part in _parts(item))
    if isinstance(content, str):
        return (content,)
    if content.get("type") == "text":
        return (content["text"],)
    return (_picture(content["file"]["path"] if "file" in content else content["path"]),)


def _picture(path: str) -> ImageRef:
    """The uploaded file's bytes: no message can then hold the server's path of it."""
    return ImageRef(data=uploaded_file(path).read_bytes())


@contextmanager
def told() -> Any:
    """Inside, what our code refuses is shown on the page as it is worded; anything else stays a bare "Error".

    gradio renders a message as HTML: tags in names and records are shown as they are written.
    """
    try:
        yield
    except EyegraftError as error:
        raise gr.Error(html.escape(str(error), quote=False), title="") from None
