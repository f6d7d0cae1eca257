"""The client of a request, watched while its answer waits and is generated."""

import asyncio
import threading
from collections.abc import Callable

from fastapi import Request


class WaitingClient:
    """Notices at once when the client of a request disconnects, until the response is complete.

    It reads the request's messages after the body. `has_left` may be called in any thread, the others in the loop.
    """

    def __init__(self, request: Request) -> None:
        self._left = threading.Event()
        self._give_up: Callable[[], None] = _nothing
        self._watch = asyncio.create_task(self._wait(request))

    def has_left(self) -> bool:
        """Whether the client has disconnected, or has got its complete response."""
        return self._left.is_set()

    def on_leave(self, give_up: Callable[[], None]) -> None:
        """Call `give_up` as soon as the client has left; now if it has."""
        self._give_up = give_up
        if self.has_left():
            give_up()

    async def _wait(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._left.set()
        self._give_up()


def _nothing() -> None:
    """What is given up for a client that waits for nothing yet."""
