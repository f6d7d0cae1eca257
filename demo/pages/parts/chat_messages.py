"""Messages from what the browser sends: chat history, question, images."""

import html
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import gradio as gr

from demo.server.input_checks import validate_messages
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.errors import EyegraftError
from llm.formats.conversation import ImageRef, Message, MessagePart

QuestionInput = dict[str, Any]  # value of a MultimodalTextbox: {"text": str, "files": [path, ...]}
ChatTurn = dict[str, Any]  # of a Chatbot: {"role": str, "content": str or a list of texts and files}


def conversation(
    history: Iterable[ChatTurn], question: QuestionInput | str, system: str, limits: Limits
) -> tuple[Message, ...]:
    """The validated conversation up to the question. Raises RecordError and ImageError for what is not accepted."""
    messages = [Message("system", (system.strip(),))] if system.strip() else []
    for turn in history:
        role: Literal["user", "assistant"] = "assistant" if turn["role"] == "assistant" else "user"
        _add(messages, role, _parts(turn["content"]))
    _add(messages, "user", parts_of_question(question))
    return validate_messages(tuple(messages), limits)


def parts_of_question(question: QuestionInput | str) -> tuple[MessagePart, ...]:
    """Images, then the text. A retried question has its files in the Chatbot's form, an edited one is a plain text."""
    if isinstance(question, str):
        return (question.strip(),) if question.strip() else ()
    images = tuple(_image(file["path"] if isinstance(file, dict) else file) for file in question.get("files") or ())
    text = (question.get("text") or "").strip()
    return (*images, text) if text else images


def _add(messages: list[Message], role: Literal["user", "assistant"], parts: tuple[MessagePart, ...]) -> None:
    """Append a turn, or join it to the last one of the same role: an answer stopped at once leaves two questions."""
    if not any(part if isinstance(part, ImageRef) else part.strip() for part in parts):
        return
    if messages and messages[-1].role == role:
        before = messages.pop()
        joint = ("\n",) if isinstance(before.parts[-1], str) and isinstance(parts[0], str) else ()
        parts = (*before.parts, *joint, *parts)
    messages.append(Message(role, parts))


def _parts(content: str | list[Any] | tuple[Any, ...] | dict[str, Any]) -> tuple[MessagePart, ...]:
    """The browser sends lists of typed parts, gradio's own Python client plain texts and files."""
    if isinstance(content, list | tuple):
        return tuple(part for item in content for part in _parts(item))
    if isinstance(content, str):
        return (content,)
    if content.get("type") == "text":
        return (content["text"],)
    return (_image(content["file"]["path"] if "file" in content else content["path"]),)


def _image(path: str) -> ImageRef:
    """The bytes of an uploaded file: messages never hold a path of the server."""
    return ImageRef(data=uploaded_file(path).read_bytes())


@contextmanager
def error_toasts(visible: Callable[[str], str]) -> Iterator[None]:
    """Inside the context an EyegraftError is shown on the page, with its message passed through `visible`.

    Other exceptions show as a bare "Error". gradio renders messages as HTML, so tags in them are escaped.
    """
    try:
        yield
    except EyegraftError as error:
        raise gr.Error(html.escape(visible(str(error)), quote=False), title="") from None
