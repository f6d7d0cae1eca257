"""A first-in, first-out queue: the answers of one model are generated together, the models take turns."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING
from weakref import ref

from demo.server.refusals import Limit, OverLimit
from demo.server.serving_metrics import ServingMetrics
from llm.chat.sampling import Sampling
from llm.chat.token_stream import GenerationCancelled, Stopped, StreamedAnswer
from llm.chat.turn import Turn
from llm.formats.conversation import Message

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

READ_TIMEOUT = 15.0  # seconds without a read after which an answer is abandoned; our own clients poll without a pause
POLL_SECONDS = 0.2  # how often a waiting request checks whether its client has left


FIRST_PACE = 5.0  # seconds that an answer is expected to take before one was measured
MEASURED = 16  # answers whose mean is the pace
LONGEST_RETRY = 600  # seconds


class Busy(OverLimit):
    """The queue is full, or the visitor's share of it is used up; in `seconds` a place is expected to be free."""

    def __init__(self, message: str, seconds: int = 1, limit: Limit | None = None) -> None:
        super().__init__(message)
        self.seconds, self.limit = seconds, limit


@dataclass(frozen=True, slots=True)
class Recipient:
    """The client an answer is for. `name` is the visitor's address; `left()` is true once the client is gone."""

    name: str
    left: Callable[[], bool]


LOCAL_RECIPIENT = Recipient("", lambda: False)  # a caller in this process


class QueueEntry:
    """A request that is waiting or being answered; without a model, it is for work that has the device to itself."""

    def __init__(self, visitor: str, chat_model: "ChatModel | None" = None) -> None:
        self.visitor, self.chat_model = visitor, chat_model
        self.reply: ref[StreamedAnswer] | None = None
        self.began: float | None = None  # when its turn began; None while it waits
        self.invited = False  # it may share the turn that runs although others came before it

    def shares(self, other: "QueueEntry") -> bool:
        """Whether both are for one model, whose answers are decoded together."""
        return self.chat_model is not None and self.chat_model == other.chat_model


class GenerationQueue:
    """Models by name, and the requests for them, whose turns come in order of arrival. Thread-safe.

    Up to `together` requests for one model have their turn at once: the first that waits when the device is free, those
    for its model that wait then, and later ones as long as none for another model came before them.
    """

    def __init__(
        self,
        chat_models: Mapping[str, "ChatModel"],
        waiting: int,
        share: int = 0,
        patience: float = READ_TIMEOUT,
        together: int = 1,
        metrics: ServingMetrics | None = None,
    ) -> None:
        """Up to `waiting` requests may wait, at most `share` of all entries belong to one visitor (0: no bound).

        An answer that is not read for `patience` seconds is abandoned. `metrics` counts what is asked and answered.
        """
        self.metrics = metrics or ServingMetrics()
        self.metrics.add_queue(lambda: self.waiting, lambda: self.running)
        self.chat_models = chat_models
        self._capacity, self._share = waiting + together, share  # the requests being answered, and those waiting
        self._patience, self._together = patience, together
        self._entries: deque[QueueEntry] = deque()
        self._changed = threading.Condition()
        self._taken: deque[float] = deque(maxlen=MEASURED)  # seconds that the last answers took

    def submit(
        self, chat_model: "ChatModel", messages: tuple[Message, ...], sampling: Sampling, visitor: str = ""
    ) -> StreamedAnswer:
        """Queue a conversation and return its reply, which waits for its turn. Raises Busy at once as `start`."""
        return self.start(visitor, partial(chat_model.stream, messages, sampling), chat_model)

    def start(
        self, visitor: str, stream: Callable[[Turn, float, str], StreamedAnswer], chat_model: "ChatModel"
    ) -> StreamedAnswer:
        """Queue a request and return its reply; `stream` makes it of a turn, the patience and the reader's name.

        The reply's own thread holds the queue entry and releases it when it ends, even if the reply is dropped.
        Raises Busy at once when the queue is full.
        """
        entry = self._add_entry(QueueEntry(visitor, chat_model))
        with ExitStack() as stack:
            stack.callback(self._remove, entry)
            reply = stream(partial(self._turn, entry), self._patience, visitor or "this machine")
            stack.pop_all()  # from here on the reply's thread removes the entry
        entry.reply = ref(reply)
        return reply

    def stream_text(
        self,
        chat_model: "ChatModel",
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
        meter = self.metrics.follow(reply)
        try:
            while (piece := reply.piece(POLL_SECONDS)) is not None and not recipient.left():
                meter.update()
                text += piece
                yield text
            yield text  # also an empty answer is one value
        finally:
            meter.update()
            self.leave(reply)

    def leave(self, reply: StreamedAnswer) -> None:
        """Stop a reply; one that waits gives up its place at once, one that is being generated after its token."""
        reply.stop()
        with self._changed:
            for entry in [*self._entries]:
                if entry.began is None and entry.reply and entry.reply() is reply:
                    self._entries.remove(entry)
            self._changed.notify_all()

    @property
    def length(self) -> int:
        """Number of requests that are waiting or being answered."""
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for their turn."""
        with self._changed:
            return sum(entry.began is None for entry in self._entries)

    @property
    def running(self) -> int:
        """Number of requests that are being answered."""
        with self._changed:
            return sum(entry.began is not None for entry in self._entries)

    def check_capacity(self, visitor: str = "") -> None:
        """Raise Busy where `submit` would, before a request is parsed."""
        with self._changed:
            self._check(visitor)

    @contextmanager
    def turn(self, visitor: str = "") -> Iterator[None]:
        """Wait for a turn and hold the device inside the context, for work without pauses. Raises Busy as `submit`."""
        with self._turn(self._add_entry(QueueEntry(visitor)), lambda: False):
            yield

    def close(self) -> None:
        """Stop every answer that is being generated or waiting."""
        for entry in list(self._entries):
            reply = entry.reply() if entry.reply else None
            if reply is not None:
                reply.stop()

    def _add_entry(self, entry: QueueEntry) -> QueueEntry:
        with self._changed:
            self._check(entry.visitor)
            self._entries.append(entry)
            return entry

    def _check(self, visitor: str) -> None:
        if len(self._entries) >= self._capacity:
            full = "the queue is full. Try again in a moment"
            raise Busy(full, self._seconds_until(0), Limit("queue", self._capacity - self._together))
        own = [place for place, entry in enumerate(self._entries) if entry.visitor == visitor]
        if visitor and self._share and len(own) >= self._share:
            found = f"{len(own)} of your questions are waiting already. Try again when one of them is answered"
            raise Busy(found, self._seconds_until(own[0]), Limit("share", self._share))

    def _seconds_until(self, place: int) -> int:
        """Expected time until the entry at `place` is answered, from the pace of the last answers."""
        pace = sum(self._taken) / len(self._taken) if self._taken else FIRST_PACE
        began = [entry.began for entry in self._entries if entry.began is not None]
        running = max(0.0, pace - (time.monotonic() - min(began))) if began else pace
        return min(LONGEST_RETRY, max(1, math.ceil(running + place // self._together * pace)))

    @contextmanager
    def _turn(self, entry: QueueEntry, stopped: Stopped) -> Iterator[None]:
        """Wait for the entry's turn, and remove it at the end. Raises GenerationCancelled if stopped before."""
        try:
            with self._changed:
                while not self._is_next(entry, stopped):
                    self._changed.wait(POLL_SECONDS)
                began = self._begin(entry)
            yield
            self._taken.append(time.monotonic() - began)
        finally:
            self._remove(entry)

    def _begin(self, entry: QueueEntry) -> float:
        """Mark that its turn begins, now, and those that may share it."""
        entry.began = time.monotonic()
        if self._entries[0] is entry:
            same = [one for one in self._entries if one.began is None and one.shares(entry)]
            for one in same[: self._together - 1]:
                one.invited = True
        self._changed.notify_all()
        return entry.began

    def _is_next(self, entry: QueueEntry, stopped: Stopped) -> bool:
        if stopped():  # first: an entry that has left is no longer in the queue
            raise GenerationCancelled
        running = [one for one in self._entries if one.began is not None]
        if not running:
            return self._entries[0] is entry
        if not entry.shares(running[0]):
            return False
        ahead = [one for one in self._before(entry) if one.began is None]
        if entry.invited:
            ahead = [one for one in ahead if one.invited]
        elif not all(one.shares(entry) for one in ahead):
            return False
        return len(ahead) < self._together - len(running)  # the places are taken in order of arrival

    def _before(self, entry: QueueEntry) -> Iterator[QueueEntry]:
        """The entries that came before it."""
        return takewhile(lambda one: one is not entry, self._entries)

    def _remove(self, entry: QueueEntry) -> None:
        with self._changed:
            if entry in self._entries:  # it may have left
                self._entries.remove(entry)
            self._changed.notify_all()
