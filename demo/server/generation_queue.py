"""A first-in, first-out queue: the device generates one answer at a time."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from weakref import ref

from llm.chat.chat_model import ChatModel
from llm.chat.sampling import Sampling
from llm.chat.token_stream import GenerationCancelled, Stopped, StreamedAnswer
from llm.errors import EyegraftError
from llm.formats.conversation import Message

READ_TIMEOUT = 15.0  # seconds without a read after which an answer is abandoned; our own clients poll without a pause
POLL_SECONDS = 0.2  # how often a waiting request checks whether its client has left


class Busy(EyegraftError):
    """The queue is full, or the visitor's share of it is used up."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The client an answer is for. `name` is the visitor's address; `left()` is true once the client is gone."""

    name: str
    left: Callable[[], bool]


LOCAL_RECIPIENT = Recipient("", lambda: False)  # a caller in this process


class QueueEntry:
    """A request that is waiting or being answered."""

    def __init__(self, visitor: str) -> None:
        self.visitor = visitor
        self.reply: ref[StreamedAnswer] | None = None


class GenerationQueue:
    """Models by name, and the requests for them, served one at a time in order of arrival. Thread-safe."""

    def __init__(
        self, chat_models: Mapping[str, ChatModel], waiting: int, share: int = 0, patience: float = READ_TIMEOUT
    ) -> None:
        """Up to `waiting` requests may wait, at most `share` of all entries belong to one visitor (0: no bound).

        An answer that is not read for `patience` seconds is abandoned.
        """
        self.chat_models = chat_models
        self._capacity, self._share = waiting + 1, share  # the request being answered, and those waiting
        self._patience = patience
        self._entries: deque[QueueEntry] = deque()
        self._changed = threading.Condition()

    def submit(
        self, chat_model: ChatModel, messages: tuple[Message, ...], sampling: Sampling, visitor: str = ""
    ) -> StreamedAnswer:
        """Queue a request and return its reply, which waits for its turn.

        The reply's own thread holds the queue entry and releases it when it ends, even if the reply is dropped.
        Raises Busy at once when the queue is full.
        """
        entry = self._add_entry(visitor)
        with ExitStack() as stack:
            stack.callback(self._remove, entry)
            turn = partial(self._turn, entry)
            reply = chat_model.stream(messages, sampling, turn, self._patience, visitor or "this machine")
            stack.pop_all()  # from here on the reply's thread removes the entry
        entry.reply = ref(reply)
        return reply

    def stream_text(
        self,
        chat_model: ChatModel,
        messages: tuple[Message, ...],
        sampling: Sampling,
        recipient: Recipient = LOCAL_RECIPIENT,
    ) -> Iterator[str]:
        """Yield the answer so far, every POLL_SECONDS even when it has not grown, so that it can be closed meanwhile.

        The oldest turns are dropped when the conversation does not fit the context. Closing the iterator stops the
        generation.
        """
        text = ""
        fitting = chat_model.fit_to_context(messages, sampling.max_new_tokens)
        reply = self.submit(chat_model, fitting, sampling, recipient.name)
        try:
            while (piece := reply.piece(POLL_SECONDS)) is not None and not recipient.left():
                text += piece
                yield text
            yield text  # also an empty answer is one value
        finally:
            reply.stop()

    @property
    def length(self) -> int:
        """Number of requests that are waiting or being answered."""
        return len(self._entries)

    def check_capacity(self, visitor: str = "") -> None:
        """Raise Busy where `submit` would, before a request is parsed."""
        with self._changed:
            self._check(visitor)

    @contextmanager
    def turn(self, visitor: str = "") -> Iterator[None]:
        """Wait for a turn and hold the device inside the context, for work without pauses. Raises Busy as `submit`."""
        with self._turn(self._add_entry(visitor), lambda: False):
            yield

    def close(self) -> None:
        """Stop every answer that is being generated or waiting."""
        for entry in list(self._entries):
            reply = entry.reply() if entry.reply else None
            if reply is not None:
                reply.stop()

    def _add_entry(self, visitor: str) -> QueueEntry:
        with self._changed:
            self._check(visitor)
            entry = QueueEntry(visitor)
            self._entries.append(entry)
            return entry

    def _check(self, visitor: str) -> None:
        if len(self._entries) >= self._capacity:
            raise Busy("the queue is full. Try again in a moment")
        own = sum(entry.visitor == visitor for entry in self._entries)
        if visitor and self._share and own >= self._share:
            raise Busy(f"{own} of your questions are waiting already. Try again when one of them is answered")

    @contextmanager
    def _turn(self, entry: QueueEntry, stopped: Stopped) -> Iterator[None]:
        """Wait until the entry is first, and remove it at the end. Raises GenerationCancelled if stopped before."""
        try:
            with self._changed:
                while self._entries[0] is not entry:
                    if stopped():
                        raise GenerationCancelled
                    self._changed.wait(POLL_SECONDS)
            if stopped():
                raise GenerationCancelled
            yield
        finally:
            self._remove(entry)

    def _remove(self, entry: QueueEntry) -> None:
        with self._changed:
            self._entries.remove(entry)
            self._changed.notify_all()
