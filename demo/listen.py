"""The server's sockets: connections that are silent are let go of, and the process ends when it is told to."""

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

from demo.limits import DEFAULT, Limits

CONNECTIONS = 64  # each may hold one body in memory while it is read
ANSWERS_END = 1  # seconds that answers have to end in when the server is told to end
PROCESS_ENDS = 4.0  # seconds after which it ends whatever still runs, such as a model that is being loaded


def listen(app: FastAPI, host: str, port: int, limits: Limits, close: Callable[[], None]) -> None:
    """Answer until stopped; SystemExit after SIGTERM, which has `close` called first: it ends the answers."""
    Listening(app_config(app, host, port, limits), close).run()


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Inside, SIGTERM raises SystemExit, so that files of the process go; behind it the process is over.

    At once: Python would wait for threads and take torch apart for seconds.
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
    protocol = type("BoundPatient", (Patient,), {"limits": limits})
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol,
        ws="none",
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        server_header=False,
        use_colors=False,  # on a terminal they would be shown as text: only rich writes codes there
        timeout_graceful_shutdown=ANSWERS_END,
    )


class Listening(uvicorn.Server):
    """uvicorn's server, whose answers end when it is told to end."""

    def __init__(self, config: uvicorn.Config, close: Callable[[], None]) -> None:
        super().__init__(config)
        self._close = close

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: stop answering, and end soon even if a thread does not."""
        self._close()
        last = threading.Timer(PROCESS_ENDS, _end_now, [128 + sig])
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)


class Patient(H11Protocol):
    """HTTP on one connection. It ends when no request comes, or when nothing of an answer is taken, for long."""

    limits: ClassVar[Limits] = DEFAULT

    _awaited: asyncio.TimerHandle | None = None  # the next request's headers
    _stuck: asyncio.TimerHandle | None = None  # an answer that the client does not take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # uvicorn's protocol wants no less
        super().connection_made(transport)
        if self._too_many():
            transport.abort()
            return
        self._await_request()

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
        self._stuck = self.loop.call_later(self.limits.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stuck)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._awaited)
        _cancel(self._stuck)
        super().connection_lost(exc)

    def _await_request(self) -> None:
        self._awaited = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _too_many(self) -> bool:
        """Whether this visitor holds more than a share of the connections."""
        if not self.limits.share_connections or self.client is None:
            return False
        others = [other.client for other in self.connections if isinstance(other, Patient) and other.client]
        return sum(host == self.client[0] for host, _ in others) > self.limits.share_connections


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _terminated(sig: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + sig)


def _end_now(code: int) -> NoReturn:
    os._exit(code)
