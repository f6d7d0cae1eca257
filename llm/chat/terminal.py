"""`eyegraft chat`: a conversation on the terminal."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from llm import console
from llm.chat.chat_errors import chat_text
from llm.chat.chat_model import ChatModel
from llm.chat.sampling import Sampling
from llm.chat.typed_line import Typed, read_typed
from llm.errors import EyegraftError
from llm.formats.conversation import ImageRef, Message, VideoRef

Media = ImageRef | VideoRef
GREETING = "Type a question and ENTER. /image FILE shows an image, /reset begins anew, /exit leaves, /help says more."
HELP = """\
/image FILE   the next question is about this image; several files are several images
              (or drop the file on this window; a question may follow it)
/video FILE   the same with a video, of which the model sees some frames
/reset        begin a new conversation
/help         these lines
/exit         leave; so does Ctrl-D, or Ctrl-C twice
Ctrl-C        stop an answer, or empty the line
//...         a question that begins with a slash"""


@dataclass(frozen=True, slots=True)
class State:
    """The conversation so far, and the images and videos of the next question."""

    history: tuple[Message, ...]
    shown: tuple[Media, ...]


@dataclass(frozen=True, slots=True)
class Terminal:
    """A chat on the terminal. `check` raises ImageError for a file that is not a readable image or video."""

    chat_model: ChatModel
    sampling: Sampling
    check: Callable[[Media], object]
    system: str = ""
    images: tuple[str, ...] = field(default=())  # shown with the first question, and again after a reset
    stream: bool = True

    def talk(self) -> None:
        """Answer one question per line, until /exit or the end of input."""
        _edit_lines()
        console.out(GREETING)
        state = self._begun()
        while (typed := _read_line()).action != "exit":
            state = self._after(state, typed)

    def _after(self, state: State, typed: Typed) -> State:
        """The conversation after a typed line."""
        if typed.action == "reset":
            console.out("(new conversation)")
            return self._begun()
        if typed.action == "help":
            console.out(HELP)
        elif typed.action == "refused":
            console.out(f"({typed.text})")
        elif typed.action == "question":
            return self._asked(state, typed.text)
        elif (media := self._readable(typed)) is not None:
            state = replace(state, shown=(*state.shown, *media))
            return self._asked(state, typed.text) if typed.text else _announced(state)
        return state

    def _begun(self) -> State:
        return State((), tuple(map(ImageRef, self.images)))

    def _readable(self, typed: Typed) -> tuple[Media, ...] | None:
        """The media for the next question; None, with a message on the screen, if one of them cannot be read."""
        if not self.chat_model.sees_images:
            console.out("(this is a text model: it accepts no images)")
            return None
        if typed.videos and not self.chat_model.sees_videos:
            console.out("(this model accepts no videos)")
            return None
        media: tuple[Media, ...] = (*map(ImageRef, typed.images), *map(VideoRef, typed.videos))
        try:
            for one in media:
                self.check(one)
        except EyegraftError as error:
            console.out(f"({chat_text(error)})")
            return None
        return media

    def _asked(self, state: State, text: str) -> State:
        """The conversation with the answer; as before if there is none."""
        opening = (Message("system", (self.system,)),) if self.system and not state.history else ()
        asked = (*state.history, *opening, Message("user", (*state.shown, text)))
        try:
            messages = self.chat_model.fit_to_context(asked, self.sampling.max_new_tokens)
            if len(messages) < len(asked):
                console.out(f"({(len(asked) - len(messages)) // 2} of the oldest turns no longer fit and are left out)")
            reply = self._shown_answer(messages)
        except EyegraftError as error:
            console.out(f"({chat_text(error)})")
            return state
        return State((*messages, Message("assistant", (reply,))), ()) if reply else state

    def _shown_answer(self, messages: tuple[Message, ...]) -> str:
        """The answer, printed; what there is of it when Ctrl-C stopped it."""
        reply = ""
        try:
            if not self.stream:
                console.raw(reply := self.chat_model.answer(messages, self.sampling))
                return reply
            with closing(self.chat_model.stream(messages, self.sampling)) as pieces:
                for piece in pieces:
                    console.raw(piece, end="")
                    reply += piece
            console.raw()
        except KeyboardInterrupt:
            console.out("\n(stopped)")
        if not reply:
            console.out("(nothing was answered; the question is not kept)")
        return reply


def _announced(state: State) -> State:
    console.out(f"(the next question is about {', '.join(one.path for one in state.shown)})")
    return state


def _edit_lines() -> None:
    """Arrow keys, history and the width of Chinese characters in typed lines, where Python has readline."""
    if find_spec("readline"):
        import readline  # noqa: F401  # `input` uses it once it is imported


def _read_line() -> Typed:
    """What the next line that is not empty asks for; the end of input, or Ctrl-C twice, leaves."""
    interrupted = False
    while True:
        try:
            console.raw()
            if line := input("> ").strip():
                return read_typed(line)
        except EOFError:
            console.raw()
            return Typed("exit")
        except KeyboardInterrupt:
            if interrupted:
                console.raw()
                return Typed("exit")
            interrupted = True
            console.out("\n(Ctrl-C once more, Ctrl-D or /exit leaves)")
