"""A socket with one deadline for all its calls together.

A socket's own timeout holds for each call: a server that sends a byte a second would never exceed it.
"""

import io
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def seconds_left(until: float) -> float:
    """Seconds until the time `until` of `time.monotonic`. TimeoutError when it has passed."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class _Reader(io.RawIOBase):
    def __init__(self, stream: socket.socket, until: float) -> None:
        self._stream, self._until = stream, until
        self._raw = stream.makefile("rb", buffering=0)  # keeps the socket open when its owner closes it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        self._stream.settimeout(seconds_left(self._until))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineSocket:
    """The methods that `http.client` calls on a socket. They raise TimeoutError at the deadline `until`."""

    def __init__(self, stream: socket.socket, until: float) -> None:
        self._stream, self._until = stream, until

    def sendall(self, data: bytes) -> None:
        """Send all bytes; here the socket's timeout holds for the call."""
        self._stream.settimeout(seconds_left(self._until))
        self._stream.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A buffered reader of the bytes received; `mode` must be "rb"."""
        assert mode == "rb"
        return io.BufferedReader(_Reader(self._stream, self._until))

    def close(self) -> None:
        """Close the socket; readers made from it stay open until they are closed."""
        self._stream.close()
