"""When the next request may be sent: a rate, a total, and pauses that the server asks for."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass


class SendingStopped(Exception):
    """Raised in place of sending: the limit is reached or the run is stopped."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed request is retried, with exponential back-off and jitter. Times are in seconds."""

    retries: int = 5
    first: float = 1.0
    longest: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after the n-th failure, n from 1; up to half is random, to spread the workers."""
        doubled = self.first * 2.0 ** min(failures - 1, 30)
        return min(self.longest, doubled) * random.uniform(0.5, 1.0)


DEFAULT_RETRIES = RetryPolicy()


class RateLimiter:
    """Limits the requests of all workers together. Setting `stop` ends every wait with SendingStopped."""

    def __init__(self, per_minute: float = 0, limit: int = 0) -> None:
        """At most `per_minute` evenly spaced requests a minute, and `limit` in total; 0: no bound."""
        self.stop = asyncio.Event()
        self.sent = 0
        self._gap = 60 / per_minute if per_minute else 0.0
        self._limit = limit
        self._next = self._paused_until = float("-inf")

    @property
    def spent(self) -> bool:
        """Whether the total is reached."""
        return bool(self._limit) and self.sent >= self._limit

    async def acquire(self) -> None:
        """Wait until a request may be sent, and count it. Raises SendingStopped."""
        if self.spent:
            raise SendingStopped
        self.sent += 1
        try:
            start = max(self._now(), self._next)
            self._next = start + self._gap
            await self.sleep(start - self._now())
            while (remaining := self._paused_until - self._now()) > 0:
                await self.sleep(remaining)
        except SendingStopped:
            self.sent -= 1
            raise

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds."""
        self._paused_until = max(self._paused_until, self._now() + seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleep. Raises SendingStopped as soon as `stop` is set."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), seconds)
        if self.stop.is_set():
            raise SendingStopped

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
