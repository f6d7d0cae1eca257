"""`eyegraft chat`: a conversation on the terminal."""

from collections.abc import Callable
from dataclasses import dataclass, field

from llm import console
from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.errors import EyegraftError
from llm.formats.conversation import ImageRef, Message

HELP = "Type a question and ENTER. /image FILE shows an image, RESET starts a new conversation, EXIT quits."


@dataclass(frozen=True, slots=True)
class Terminal:
    """A chat on the terminal. `check_image` raises ImageError for a file that is not a readable image."""

    chat_model: ChatModel
    sampling: Sampling
    check_image: Callable[[ImageRef], object]
    system: str = ""
    images: tuple[str, ...] = field(default=())  # shown with the first question, and again after RESET
    stream: bool = True

    def talk(self) -> None:
        """Answer one question per line, until EXIT or the end of input."""
        console.out(HELP)
        history: tuple[Message, ...] = ()
        shown = self.images
        while (text := _read_line()) is not None:
            if text == "RESET":
                history, shown = (), self.images
                console.out("(new conversation)")
            elif text.startswith("/image"):
                shown += self._image(text.removeprefix("/image").strip())
            else:
                asked = history + question(text, shown, "" if history else self.system)
                answered = self._answer(asked)
                history, shown = (answered, ()) if answered else (history, shown)

    def _image(self, path: str) -> tuple[str, ...]:
        """The image for the next question; none if it cannot be read, with a message on the screen."""
        if not self.chat_model.sees_images:
            console.out("(this model accepts no images)")
            return ()
        try:
            self.check_image(ImageRef(path))
        except EyegraftError as error:
            console.out(f"({error})")
            return ()
        console.out(f"(the next question is about {path})")
        return (path,)

    def _answer(self, asked: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation with its answer, without turns that no longer fit; empty if it cannot be answered."""
        messages = self.chat_model.fit_to_context(asked, self.sampling.max_new_tokens)
        if len(messages) < len(asked):
            console.out(f"({(len(asked) - len(messages)) // 2} of the oldest turns no longer fit and are left out)")
        try:
            reply = _show_answer(self.chat_model, messages, self.sampling, self.stream)
        except EyegraftError as error:
            console.out(f"({error})")
            return ()
        return (*messages, Message("assistant", (reply,)))


def _read_line() -> str | None:
    try:
        text = input("\n> ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return _read_line() if not text else None if text == "EXIT" else text


def _show_answer(chat_model: ChatModel, messages: tuple[Message, ...], sampling: Sampling, stream: bool) -> str:
    if not stream:
        reply = chat_model.answer(messages, sampling)
        console.out(reply)
        return reply
    reply = ""
    for piece in chat_model.stream(messages, sampling):
        console.out(piece, end="")
        reply += piece
    console.out()
    return reply
