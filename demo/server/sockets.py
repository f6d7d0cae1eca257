"""The server's sockets: idle connections are closed, and the process ends on SIGTERM."""

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

CONNECTIONS = 256  # every open page holds one for as long as it is open
ANSWERS_END = 1  # seconds that open connections have to finish in after a signal
PROCESS_ENDS = 4.0  # seconds after which it ends whatever still runs, such as a model that is being loaded


def listen(app: FastAPI, host: str, port: int, limits: Limits, close: Callable[[], None]) -> None:
    """Answer until stopped; SystemExit after SIGTERM, which has `close` called first: it ends the answers."""
    SignalServer(app_config(app, host, port, limits), close).run()


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Inside, SIGTERM raises SystemExit, so that temporary files are removed; then the process ends immediately.

    Python's own exit would wait for threads and spend seconds on unloading torch.
    """
    signal.signal(signal.SIGTERM, _terminated)  # uvicorn sends the signal again when it has ended
    try:
        yield
    except SystemExit as end:
        if end.code == 128 + signal.SIGTERM:
            sys.stdout.flush()
            sys.stderr.flush()
            _end_now(128 + signal.SIGTERM)
        raise


def app_config(app: FastAPI, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """How uvicorn serves the application."""
    protocol = type("BoundPatient", (LimitedProtocol,), {"limits": limits})
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        server_header=False,
        proxy_headers=False,  # a visitor writes what a proxy passes on
        use_colors=False,  # on a terminal they would be shown as text: only rich writes codes there
        timeout_graceful_shutdown=ANSWERS_END,
    )


class SignalServer(uvicorn.Server):
    """uvicorn's server, which stops the answers being generated when it receives a signal."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop answering, and exit after PROCESS_ENDS seconds even if a thread is still running."""
        last = threading.Timer(PROCESS_ENDS, _end_now, [128 + sig])
        last.daemon = True
        last.start()
        self._close()
        super().handle_exit(sig, frame)


class LimitedProtocol(H11Protocol):
    """HTTP on one connection, which is closed when no request arrives or the client reads nothing within the limits."""

    limits: ClassVar[Limits] = DEFAULT

    _awaited: asyncio.TimerHandle | None = None  # the next request's headers
    _look: asyncio.TimerHandle | None = None  # the next look at what the client has not taken
    _untaken = 0  # bytes at the last one
    _paused = False  # nothing more is written until the client takes some

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # uvicorn's protocol wants no less
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._await_request()
        self._look_again()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            _cancel(self._awaited)
            self._awaited = None
        elif self._awaited is None and (self.cycle is None or self.cycle.response_complete):
            self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused, self._untaken = False, 0

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._awaited)
        _cancel(self._look)
        super().connection_lost(exc)

    def _await_request(self) -> None:
        self._awaited = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _look_again(self) -> None:
        """Abort if the client has read nothing of a full write buffer since the last look; closing would wait."""
        full = self._paused or self.transport.is_closing()
        waiting = self.transport.get_write_buffer_size() if full else 0
        if waiting >= self._untaken > 0:
            self.transport.abort()
            return
        self._untaken = waiting
        self._look = self.loop.call_later(self.limits.send_seconds / 2, self._look_again)

    def _too_many(self) -> bool:
        """Whether this visitor holds more than a share of the connections."""
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
