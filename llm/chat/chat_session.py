"""A chat model for programs: single questions and conversations of several turns. Torch-free until it answers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm.chat.sampling import Sampling
from llm.errors import ConfigError
from llm.formats.conversation import ImageRef, Message

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

ImageSource = str | os.PathLike[str] | bytes
"""An image file, or the bytes of one."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model to chat with, opened by `vlm.api.open_model`."""

    _chat_model: "ChatModel"

    @property
    def sees_images(self) -> bool:
        """Whether questions may have images."""
        return self._chat_model.sees_images

    def answer(
        self, prompt: str, *, images: Sequence[ImageSource] = (), system: str = "", sampling: Sampling | None = None
    ) -> str:
        """The answer to one question.

        Args:
            prompt: The question.
            images: Images before the question, in order: files, or the bytes of files.
            system: System prompt; empty for none.
            sampling: Settings of the generation; greedy by default.

        Raises:
            ConfigError: Images for a text model.
            ImageError: An image that is missing or cannot be read.
            DataError: The prompt cannot be encoded.
        """
        return self.chat(system=system, sampling=sampling).ask(prompt, images=images)

    def stream(
        self, prompt: str, *, images: Sequence[ImageSource] = (), system: str = "", sampling: Sampling | None = None
    ) -> Iterator[str]:
        """Yield the answer in pieces of text while it is generated; arguments and errors as in `answer`."""
        return self.chat(system=system, sampling=sampling).stream(prompt, images=images)

    def chat(self, *, system: str = "", sampling: Sampling | None = None) -> "Chat":
        """Begin a conversation of several turns; arguments as in `answer`."""
        return Chat(self._chat_model, system, sampling or Sampling())


class Chat:
    """A conversation. Each question is answered given the turns before it; the oldest are dropped when they no longer
    fit the model's context."""

    def __init__(self, chat_model: "ChatModel", system: str, sampling: Sampling) -> None:
        self._chat_model, self._sampling = chat_model, sampling
        self._messages: tuple[Message, ...] = (Message("system", (system,)),) if system else ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns so far, each with its role and its parts: text and images."""
        return self._messages

    def ask(self, prompt: str, *, images: Sequence[ImageSource] = ()) -> str:
        """The answer to the next question; arguments and errors as in `Model.answer`."""
        return "".join(self.stream(prompt, images=images))

    def stream(self, prompt: str, *, images: Sequence[ImageSource] = ()) -> Iterator[str]:
        """Yield the answer in pieces of text. The turn is added to the conversation when the last piece was read."""
        if images and not self._chat_model.sees_images:
            raise ConfigError("images: this is a text model, which takes none. Leave them out")
        question = Message("user", (*(_image(image) for image in images), prompt))
        messages = self._chat_model.fit_to_context((*self._messages, question), self._sampling.max_new_tokens)
        return self._answer(messages)

    def _answer(self, messages: tuple[Message, ...]) -> Iterator[str]:
        answer = ""
        with self._chat_model.stream(messages, self._sampling) as reply:
            for piece in reply:
                answer += piece
                yield piece
        self._messages = (*messages, Message("assistant", (answer,)))


def _image(image: ImageSource) -> ImageRef:
    return ImageRef(data=image) if isinstance(image, bytes) else ImageRef(os.fspath(image))
