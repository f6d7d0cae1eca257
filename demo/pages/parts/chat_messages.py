"""Messages from what the browser sends: chat history, question, images."""

import html
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import gradio as gr

from demo.server.input_checks import validate_messages
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.chat.chat_errors import chat_text
from llm.errors import EyegraftError
from llm.formats.conversation import ImageRef, Message, MessagePart, VideoRef
from llm.i18n.translate import Language, translated
from vlm.vision.videos import is_video

Media = ImageRef | VideoRef
QuestionInput = dict[str, Any]  # value of a MultimodalTextbox: {"text": str, "files": [path, ...]}
REFUSED = {"id": "refused"}  # gradio's metadata of a turn; without a title it is shown as any other
ChatTurn = dict[str, Any]  # of a Chatbot: {"role": str, "content": str or a list of texts and files}


def conversation(
    history: Iterable[ChatTurn], question: QuestionInput | str, system: str, limits: Limits
) -> tuple[Message, ...]:
    """The validated conversation up to the question. Raises DataError for what is not accepted."""
    messages = [Message("system", (system.strip(),))] if system.strip() else []
    names: dict[Media, str] = {}
    messages += _turns(history, names)
    messages.append(Message("user", parts_of_question(question, names)))
    return validate_messages(tuple(messages), limits, names)


def _turns(history: Iterable[ChatTurn], names: dict[Media, str]) -> list[Message]:
    messages: list[Message] = []
    for turn in accepted(history):
        role: Literal["user", "assistant"] = "assistant" if turn["role"] == "assistant" else "user"
        messages.append(Message(role, _parts(turn["content"], names)))
    return messages


def last_image(history: Iterable[ChatTurn], question: QuestionInput | str = "") -> ImageRef | None:
    """The newest image of the chat, to which an answer's boxes belong; None without one.

    Raises ImageError for a file that was not uploaded.
    """
    parts = [part for message in _turns(history, {}) for part in message.parts]
    parts += parts_of_question(question, {})
    return next((part for part in reversed(parts) if isinstance(part, ImageRef)), None)


def refusal(reason: str) -> ChatTurn:
    """The turn of the chat that says why a question was not answered; `accepted` leaves both out of the history."""
    return {"role": "assistant", "content": reason, "metadata": dict(REFUSED)}


def accepted(history: Iterable[ChatTurn]) -> list[ChatTurn]:
    """The history without refusals and without the questions that they refuse, which would be refused again."""
    turns: list[ChatTurn] = []
    for turn in history:
        if not is_refusal(turn):
            turns.append(turn)
            continue
        while turns and turns[-1]["role"] == "user":
            turns.pop()
    return turns


def is_refusal(turn: ChatTurn) -> bool:
    """Whether the turn was made by `refusal`."""
    metadata = turn.get("metadata")
    return turn["role"] == "assistant" and isinstance(metadata, dict) and metadata.get("id") == REFUSED["id"]


def parts_of_question(question: QuestionInput | str, names: dict[Media, str]) -> tuple[MessagePart, ...]:
    """Images and videos, then the text; the visitor's own name of each file is added to `names`.

    A retried question has its files in the Chatbot's form, an edited one is a plain text.
    """
    if isinstance(question, str):
        return (question.strip(),) if question.strip() else ()
    images = tuple(_media(file, names) for file in question.get("files") or ())
    text = (question.get("text") or "").strip()
    return (*images, text) if text else images


def _parts(
    content: str | list[Any] | tuple[Any, ...] | dict[str, Any], names: dict[Media, str]
) -> tuple[MessagePart, ...]:
    """The browser sends lists of typed parts, gradio's own Python client plain texts and files."""
    if isinstance(content, list | tuple):
        return tuple(part for item in content for part in _parts(item, names))
    if isinstance(content, str):
        return (content,)
    if content.get("type") == "text":
        return (content["text"],)
    return (_media(content.get("file", content), names),)


def _media(file: str | dict[str, Any], names: dict[Media, str]) -> Media:
    """The bytes of an uploaded file: messages never hold a path of the server, whose last part is the visitor's name
    of it."""
    path = uploaded_file(file["path"] if isinstance(file, dict) else file)
    data = path.read_bytes()
    media = VideoRef(data=data) if is_video(data) else ImageRef(data=data)
    names[media] = path.name
    return media


@contextmanager
def error_toasts(visible: Callable[[str], str], lang: Language) -> Iterator[None]:
    """Inside the context an EyegraftError is shown on the page, translated and with paths shortened by `visible`.

    Other exceptions show as a bare "Error". gradio renders messages as HTML, so tags in them are escaped.
    """
    try:
        yield
    except EyegraftError as error:
        message = html.escape(translated(visible(str(error)), lang), quote=False)
        raise gr.Error(message, title="", print_exception=False) from None


def refusal_text(error: EyegraftError, lang: Language, visible: Callable[[str], str]) -> str:
    """Why a question was not answered, in the words of someone who chats; `visible` shortens paths."""
    return translated(visible(chat_text(error)), lang)
