"""Who answers, one at a time: opened models by name, and the queue in front of them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from llm.chat import Speaker
from llm.conversation import Message
from llm.errors import EyegraftError
from llm.generate import Sampling


class Busy(EyegraftError):
    """As many as may wait are waiting."""


class Desk:
    """Speakers by name. A device generates one answer at a time; `turn` is whose it is."""

    def __init__(self, speakers: Mapping[str, Speaker], waiting: int) -> None:
        self.speakers = speakers
        self._places = threading.BoundedSemaphore(waiting + 1)  # the one who is served, and those who wait
        self._device = threading.Lock()

    def check_place(self) -> None:
        """Raise Busy when the queue is full, without entering it."""
        self._take_place()
        self._places.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, nobody else generates. Waits for that; raises Busy at once when too many wait already."""
        self._take_place()
        try:
            with self._device:
                yield
        finally:
            self._places.release()

    def growing(self, speaker: Speaker, messages: tuple[Message, ...], sampling: Sampling) -> Iterator[str]:
        """The answer so far, again and again, in our turn at the device. Closing it stops the generation."""
        text = ""
        with self.turn(), speaker.stream(speaker.fitting(messages, sampling.max_new_tokens), sampling) as reply:
            for piece in reply:
                text += piece
                yield text
        yield text  # also when it is empty

    def _take_place(self) -> None:
        if not self._places.acquire(blocking=False):
            raise Busy("the queue is full. Try again in a moment")
