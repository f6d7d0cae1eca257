"""When the next request may go: so many a minute, none while the server asks for rest, never more than the limit."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass


class SendingStopped(Exception):
    """No further request is sent."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request that failed is sent again, and how long to wait before: doubling seconds, with jitter."""

    retries: int = 5
    first: float = 1.0
    longest: float = 60.0

    def wait(self, fault: int) -> float:
        """Seconds to wait after the `fault`-th failure, from 1; half of it is chance, so that workers come apart."""
        doubled = self.first * 2.0 ** min(fault - 1, 30)
        return min(self.longest, doubled) * random.uniform(0.5, 1.0)


DEFAULT_RETRIES = RetryPolicy()


class RateLimiter:
    """One for all workers. `stop` ends every wait here with SendingStopped."""

    def __init__(self, per_minute: float = 0, limit: int = 0) -> None:
        """At most `per_minute` requests a minute, evenly spaced, and `limit` in all; 0: as many as there are."""
        self.stop = asyncio.Event()
        self.sent = 0
        self._gap = 60 / per_minute if per_minute else 0.0
        self._limit = limit
        self._next = self._held_until = float("-inf")

    @property
    def spent(self) -> bool:
        """Whether the limit is reached."""
        return bool(self._limit) and self.sent >= self._limit

    async def turn(self) -> None:
        """Wait until a request may go, and count it. SendingStopped when the limit is reached or somebody stopped."""
        if self.spent:
            raise SendingStopped
        self.sent += 1
        try:
            start = max(self._now(), self._next)
            self._next = start + self._gap
            await self.rest(start - self._now())
            while (held := self._held_until - self._now()) > 0:
                await self.rest(held)
        except SendingStopped:
            self.sent -= 1
            raise

    def hold(self, seconds: float) -> None:
        """Nobody sends for so long: the server asked for it."""
        self._held_until = max(self._held_until, self._now() + seconds)

    async def rest(self, seconds: float) -> None:
        """Sleep; SendingStopped as soon as somebody stopped."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), seconds)
        if self.stop.is_set():
            raise SendingStopped

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
