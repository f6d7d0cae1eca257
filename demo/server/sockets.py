"""uvicorn with time limits on connections and a prompt exit on SIGTERM."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar, NoReturn

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from demo.server.guard import shared_address
from demo.server.limits import DEFAULT, Limits

CONNECTIONS = 256  # every open page holds one
SHUTDOWN_SECONDS = 1  # for open connections to finish after a signal
EXIT_SECONDS = 4.0  # after a signal the process exits, even if a thread still loads a model


def listen(app: FastAPI, host: str, port: int, limits: Limits, close: Callable[[], None]) -> None:
    """Serve until stopped. SIGTERM first calls `close`, which stops running answers, then raises SystemExit."""
    SignalServer(app_config(app, host, port, limits), close).run()


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Inside the context SIGTERM raises SystemExit, so that temporary files are removed; then the process exits.

    Python's normal exit would wait for threads and spend seconds on unloading torch.
    """
    signal.signal(signal.SIGTERM, _terminated)  # uvicorn raises the signal again after its shutdown
    try:
        yield
    except SystemExit as end:
        if end.code == 128 + signal.SIGTERM:
            sys.stdout.flush()
            sys.stderr.flush()
            _end_now(128 + signal.SIGTERM)
        raise


def app_config(app: FastAPI, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """uvicorn's configuration for the application."""
    protocol = type("BoundProtocol", (LimitedProtocol,), {"limits": limits})
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        loop="asyncio",  # uvloop, which other packages bring, has transports that this protocol does not know
        ws="none",
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        server_header=False,
        proxy_headers=False,  # a proxy passes on headers that a visitor may have written
        use_colors=False,  # llm/printable.py would escape their codes
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


class SignalServer(uvicorn.Server):
    """uvicorn's server, which stops running answers when it receives a signal."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop answering, and exit after EXIT_SECONDS even if a thread is still running."""
        last = threading.Timer(EXIT_SECONDS, _end_now, [128 + sig])
        last.daemon = True
        last.start()
        self._close()
        super().handle_exit(sig, frame)


class LimitedProtocol(H11Protocol):
    """One HTTP connection, closed when no request arrives or the client reads nothing within the time limits."""

    limits: ClassVar[Limits] = DEFAULT

    _head_timer: asyncio.TimerHandle | None = None  # runs while the headers of a request are awaited
    _send_timer: asyncio.TimerHandle | None = None  # until the next check of the write buffer
    _unsent = 0  # bytes in a full write buffer at the last check
    _paused = False  # the write buffer is full

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # uvicorn's protocol requires one
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._start_head_timer()
        self._check_buffer()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            _cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused, self._unsent = False, 0

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_timer)
        _cancel(self._send_timer)
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _check_buffer(self) -> None:
        """Abort if the client has read nothing of a full write buffer since the last check; a close would wait."""
        full = self._paused or self.transport.is_closing()
        waiting = self.transport.get_write_buffer_size() if full else 0
        if waiting >= self._unsent > 0:
            self.transport.abort()
            return
        self._unsent = waiting
        self._send_timer = self.loop.call_later(self.limits.send_seconds / 2, self._check_buffer)

    def _too_many(self) -> bool:
        """Whether this visitor holds more than their share of the connections."""
        if not self.limits.share_connections or self.client is None:
            return False
        own = shared_address(self.client[0])
        others = [other.client for other in self.connections if isinstance(other, LimitedProtocol) and other.client]
        return sum(shared_address(host) == own for host, _ in others) > self.limits.share_connections


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _terminated(sig: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + sig)


def _end_now(code: int) -> NoReturn:
    os._exit(code)
