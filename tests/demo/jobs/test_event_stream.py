"""A stream of events that waits: it reads only when the store has changed, and misses nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from demo.jobs import event_stream
from vlm.service.store.rows import Event

PAGE = event_stream.PAGE


class Store:
    """Events, the number of changes, and how often they were read."""

    def __init__(self, count: int) -> None:
        self.events = [Event(number, "ftjob-1", 1, "info", "message", "a", {}) for number in range(1, count + 1)]
        self.changes, self.reads, self.ended = 1, 0, False

    def read(self, after: int) -> tuple[list[Event], bool]:
        """A page."""
        self.reads += 1
        return [event for event in self.events if event.sequence > after][:PAGE], self.ended

    def add(self) -> None:
        """One more event."""
        self.events.append(Event(len(self.events) + 1, "ftjob-1", 1, "info", "message", "a", {}))
        self.changes += 1

    def stream(self) -> AsyncIterator[str]:
        """All events, then the new ones."""
        return event_stream._stream(self.read, 0, lambda: self.changes)


def test_a_stream_reads_when_something_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    store, pauses = Store(2 * PAGE), list[float]()
    received: list[str] = []

    async def pause(seconds: float) -> None:
        """Nothing happens for 200 pauses; then an event, and the end."""
        pauses.append(seconds)
        if len(pauses) == 200:
            store.add()
        if len(pauses) == 400:
            store.ended, store.changes = True, store.changes + 1

    async def receive() -> None:
        received.extend([text async for text in store.stream() if not text.startswith(":")])

    monkeypatch.setattr(event_stream.asyncio, "sleep", pause)
    asyncio.run(receive())
    names = [text.split("\n")[0] for text in received]
    assert names == [*(f"id: ftevent-{number}" for number in range(1, 2 * PAGE + 2)), "data: [DONE]"]
    assert len(pauses) >= 400 and store.reads <= 8, "two pages, the new event, the end, and one look after each"
