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
from llm.chat.token_stream import Abandoned, Reply, Stopped
from llm.errors import EyegraftError
from llm.formats.conversation import Message

PATIENCE = 15.0  # seconds without a reader after which an answer is given up: our own readers wait without a pause
GLANCE = 0.2  # seconds between two looks at whether one who waits has left


class Busy(EyegraftError):
    """As many as may wait are waiting."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom an answer is for, and whether they are there still."""

    name: str
    left: Callable[[], bool]


NOBODY_ELSE = Reader("", lambda: False)  # one who reads in this process


class Place:
    """A place in the queue."""

    def __init__(self, visitor: str) -> None:
        self.visitor = visitor
        self.reply: ref[Reply] | None = None


class Desk:
    """Speakers by name. A device generates one answer at a time, in the order in which questions came."""

    def __init__(
        self, chat_models: Mapping[str, ChatModel], waiting: int, share: int = 0, patience: float = PATIENCE
    ) -> None:
        """`waiting` questions may wait, `share` of them from one visitor (0: as many as there are).

        An answer that nobody has read for `patience` seconds is given up.
        """
        self.chat_models = chat_models
        self._most, self._share = waiting + 1, share  # the one who is served, and those who wait
        self._patience = patience
        self._line: deque[Place] = deque()
        self._moved = threading.Condition()

    def ask(self, chat_model: ChatModel, messages: tuple[Message, ...], sampling: Sampling, visitor: str = "") -> Reply:
        """The answer, which waits for its turn. The turn belongs to the reply's thread and ends with it, whatever
        becomes of the reply. Raises Busy at once when too many wait already.
        """
        place = self._take_place(visitor)
        with ExitStack() as stack:
            stack.callback(self._leave, place)
            turn = partial(self._turn, place)
            reply = chat_model.stream(messages, sampling, turn, self._patience, visitor or "this machine")
            stack.pop_all()  # from here on the thread leaves
        place.reply = ref(reply)
        return reply

    def growing(
        self,
        chat_model: ChatModel,
        messages: tuple[Message, ...],
        sampling: Sampling,
        reader: Reader = NOBODY_ELSE,
    ) -> Iterator[str]:
        """The answer so far, again and again, also while nothing is added: so it can be closed, which stops it."""
        text = ""
        reply = self.ask(chat_model, chat_model.fitting(messages, sampling.max_new_tokens), sampling, reader.name)
        try:
            while (piece := reply.piece(GLANCE)) is not None and not reader.left():
                text += piece
                yield text
            yield text  # also when it is empty
        finally:
            reply.stop()

    @property
    def length(self) -> int:
        """Questions that wait or are being answered."""
        return len(self._line)

    def check_place(self, visitor: str = "") -> None:
        """Raise Busy where `ask` would, before the work of understanding a question."""
        with self._moved:
            self._judge(visitor)

    @contextmanager
    def turn(self, visitor: str = "") -> Iterator[None]:
        """Inside, no other answer is generated; for work that does not pause. Raises Busy as `ask` does."""
        with self._turn(self._take_place(visitor), lambda: False):
            yield

    def close(self) -> None:
        """Stop every answer that is being generated or waits."""
        for place in list(self._line):
            reply = place.reply() if place.reply else None
            if reply is not None:
                reply.stop()

    def _take_place(self, visitor: str) -> Place:
        with self._moved:
            self._judge(visitor)
            place = Place(visitor)
            self._line.append(place)
            return place

    def _judge(self, visitor: str) -> None:
        if len(self._line) >= self._most:
            raise Busy("the queue is full. Try again in a moment")
        own = sum(place.visitor == visitor for place in self._line)
        if visitor and self._share and own >= self._share:
            raise Busy(f"{own} of your questions wait already. Try again when one is answered")

    @contextmanager
    def _turn(self, place: Place, stopped: Stopped) -> Iterator[None]:
        """Wait until the place is the first, and leave it in the end. Raises Abandoned when stopped before that."""
        try:
            with self._moved:
                while self._line[0] is not place:
                    if stopped():
                        raise Abandoned
                    self._moved.wait(GLANCE)
            if stopped():
                raise Abandoned
            yield
        finally:
            self._leave(place)

    def _leave(self, place: Place) -> None:
        with self._moved:
            self._line.remove(place)
            self._moved.notify_all()
