"""Who answers, one at a time: opened models by name, and the queue in front of them."""

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

READ_TIMEOUT = 15.0  # seconds without a reader after which an answer is given up: our own readers wait without a pause
GLANCE = 0.2  # seconds between two looks at whether one who waits has left


class Busy(EyegraftError):
    """As many as may wait are waiting."""


@dataclass(frozen=True, slots=True)
class Client:
    """Whom an answer is for, and whether they are there still."""

    name: str
    left: Callable[[], bool]


LOCAL_CLIENT = Client("", lambda: False)  # one who reads in this process


class QueueEntry:
    """A place in the queue."""

    def __init__(self, visitor: str) -> None:
        self.visitor = visitor
        self.reply: ref[StreamedAnswer] | None = None


class GenerationQueue:
    """Speakers by name. A device generates one answer at a time, in the order in which questions came."""

    def __init__(
        self, chat_models: Mapping[str, ChatModel], waiting: int, share: int = 0, patience: float = READ_TIMEOUT
    ) -> None:
        """`waiting` questions may wait, `share` of them from one visitor (0: as many as there are).

        An answer that nobody has read for `patience` seconds is given up.
        """
        self.chat_models = chat_models
        self._capacity, self._share = waiting + 1, share  # the one who is served, and those who wait
        self._patience = patience
        self._entries: deque[QueueEntry] = deque()
        self._changed = threading.Condition()

    def submit(
        self, chat_model: ChatModel, messages: tuple[Message, ...], sampling: Sampling, visitor: str = ""
    ) -> StreamedAnswer:
        """The answer, which waits for its turn. The turn belongs to the reply's thread and ends with it, whatever
        becomes of the reply. Raises Busy at once when too many wait already.
        """
        entry = self._add_entry(visitor)
        with ExitStack() as stack:
            stack.callback(self._leave, entry)
            turn = partial(self._turn, entry)
            reply = chat_model.stream(messages, sampling, turn, self._patience, visitor or "this machine")
            stack.pop_all()  # from here on the thread leaves
        entry.reply = ref(reply)
        return reply

    def stream_text(
        self,
        chat_model: ChatModel,
        messages: tuple[Message, ...],
        sampling: Sampling,
        client: Client = LOCAL_CLIENT,
    ) -> Iterator[str]:
        """The answer so far, again and again, also while nothing is added: so it can be closed, which stops it."""
        text = ""
        reply = self.submit(
            chat_model, chat_model.fit_to_context(messages, sampling.max_new_tokens), sampling, client.name
        )
        try:
            while (piece := reply.piece(GLANCE)) is not None and not client.left():
                text += piece
                yield text
            yield text  # also when it is empty
        finally:
            reply.stop()

    @property
    def length(self) -> int:
        """Questions that wait or are being answered."""
        return len(self._entries)

    def check_capacity(self, visitor: str = "") -> None:
        """Raise Busy where `ask` would, before the work of understanding a question."""
        with self._changed:
            self._check(visitor)

    @contextmanager
    def turn(self, visitor: str = "") -> Iterator[None]:
        """Inside, no other answer is generated; for work that does not pause. Raises Busy as `ask` does."""
        with self._turn(self._add_entry(visitor), lambda: False):
            yield

    def close(self) -> None:
        """Stop every answer that is being generated or waits."""
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
            raise Busy(f"{own} of your questions wait already. Try again when one is answered")

    @contextmanager
    def _turn(self, entry: QueueEntry, stopped: Stopped) -> Iterator[None]:
        """Wait until the place is the first, and leave it in the end. Raises Abandoned when stopped before that."""
        try:
            with self._changed:
                while self._entries[0] is not entry:
                    if stopped():
                        raise GenerationCancelled
                    self._changed.wait(GLANCE)
            if stopped():
                raise GenerationCancelled
            yield
        finally:
            self._leave(entry)

    def _leave(self, entry: QueueEntry) -> None:
        with self._changed:
            self._entries.remove(entry)
            self._changed.notify_all()
