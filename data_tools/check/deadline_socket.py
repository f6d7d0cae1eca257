"""A socket on which everything together ends at a deadline, however the other side spreads its bytes.

A socket's own timeout is one for each call: a server that sends a byte a second would never meet it.
"""

import io
import socket
import time
from typing import Any


def left(until: float) -> float:
    """Seconds until a moment of `time.monotonic`. TimeoutError when it has passed."""
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

    def readinto(self, buffer: Any, /) -> int | None:  # Any: typeshed's Buffer is no public name in 3.11
        self._stream.settimeout(left(self._until))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class Deadline:
    """What `http.client` needs of a socket. Raises TimeoutError at the deadline."""

    def __init__(self, stream: socket.socket, until: float) -> None:
        self._stream, self._until = stream, until

    def sendall(self, data: bytes) -> None:
        """Send all of it; a socket's timeout is one for the whole call."""
        self._stream.settimeout(left(self._until))
        self._stream.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What is received."""
        assert mode == "rb"
        return io.BufferedReader(_Reader(self._stream, self._until))

    def close(self) -> None:
        """Close it, once what was made of it is closed too."""
        self._stream.close()
