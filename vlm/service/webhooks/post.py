"""One POST to an address of a user: no redirect, no proxy, no answer read but its status.

`http.client` of the standard library: the connection is ours, so the address that is checked is the one that is used,
and nothing is followed, unpacked or taken from the environment that would have to be switched off.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from llm.errors import ServiceError
from vlm.service.webhooks.addresses import Target, read_url, refusal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TIMEOUT_S = 20.0  # of a try from first to last; Standard Webhooks asks for 15 to 30
CONNECT_S = 5.0  # to one of the addresses of a name
MOST_BYTES = 1 << 16  # of an answer's head


class NoAnswerError(ServiceError):
    """An endpoint that could not be reached, or did not answer as a web server does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint has answered; `retry_after`: the seconds that it asks to wait, 0 for none."""

    status: int
    retry_after: int = 0


def post(url: str, headers: Mapping[str, str], body: str, public: bool, timeout: float = TIMEOUT_S) -> Answer:
    """Send a JSON body and return the answer. Raises UrlError and NoAnswerError; `public`: see `refusal`."""
    until = time.monotonic() + timeout
    target = read_url(url, public)
    try:
        with _connect(target, public, until) as connected:
            return _exchange(connected, target, headers, body, until)
    except TimeoutError as error:
        raise NoAnswerError("no answer in time") from error
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or error
        raise NoAnswerError(f"no secure connection: {reason}") from error
    except (OSError, UnicodeError) as error:  # the second from names that cannot be looked up
        raise NoAnswerError(f"no connection: {getattr(error, 'strerror', None) or error}") from error
    except http.client.HTTPException as error:
        raise NoAnswerError(f"no answer of a web server ({type(error).__name__})") from error


def _connect(target: Target, public: bool, until: float) -> socket.socket:
    """A connection to the first address of the host that answers and may be sent to."""
    reasons: list[str] = []
    last: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        if reason := refusal(str(address[0]), public):
            reasons.append(reason)
            continue
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(min(CONNECT_S, _left(until)))
            connected.connect(address)
            return _encrypted(connected, target, until) if target.encrypted else connected
        except OSError as error:
            connected.close()
            last = error
    if last is not None:
        raise last
    raise NoAnswerError(f"nothing is sent there: {reasons[0] if reasons else 'the name has no address'}")


def _encrypted(connected: socket.socket, target: Target, until: float) -> socket.socket:
    connected.settimeout(_left(until))
    return ssl.create_default_context().wrap_socket(connected, server_hostname=target.host)


def _exchange(connected: socket.socket, target: Target, headers: Mapping[str, str], body: str, until: float) -> Answer:
    kind = http.client.HTTPSConnection if target.encrypted else http.client.HTTPConnection
    connection = kind(target.host, target.port)
    connection.sock = connected
    connection.auto_open = 0  # it must never connect by itself, to an address that is not checked
    fixed = {"content-type": "application/json", "user-agent": "Eyegraft", "connection": "close"}
    connected.settimeout(_left(until))
    connection.request("POST", target.path, body.encode(), {**fixed, **headers})
    response = http.client.HTTPResponse(cast(socket.socket, _Head(connected, until)), method="POST")
    try:
        response.begin()
        return Answer(response.status, _seconds(response.getheader("retry-after", "")))
    finally:
        response.close()


class _Head(io.RawIOBase):
    """Reads the head of an answer until a time, however slowly its bytes come, and up to MOST_BYTES."""

    def __init__(self, connected: socket.socket, until: float) -> None:
        self._connected, self._until, self._room = connected, until, MOST_BYTES

    def makefile(self, _: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if self._room <= 0:
            raise http.client.LineTooLong("head")
        self._connected.settimeout(_left(self._until))
        count = self._connected.recv_into(buffer)
        self._room -= count
        return count


def _left(until: float) -> float:
    """The seconds that are left. Raises TimeoutError when none are."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _seconds(text: str) -> int:
    """The seconds of a Retry-After header; its other form, a date, is not read."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
