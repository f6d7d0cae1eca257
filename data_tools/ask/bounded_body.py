"""Response bodies decoded and bounded while they arrive, so that no server can fill the memory."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2 import Response

MOST = 16 << 20  # bytes of a response, log probabilities included
MOST_OF_AN_ERROR = 1 << 16  # bytes of an error response, of which one line is shown
BRACKETS = 1 << 18  # opening brackets of a response; each takes some hundred bytes once parsed
REDIRECTS = 4  # followed for one request
_BLOCK = 1 << 16  # bytes; a server may send single bytes, each of which would be an object

Hook = Callable[["Response"], Awaitable[None]]


class InvalidBody(Exception):
    """A response body is refused; the message is the reason."""


async def decoded(response: "Response", most: int) -> AsyncIterator[bytes]:
    """The decoded body in blocks. Raises InvalidBody after `most` bytes of a successful response.

    The body of an error or a redirect is cut at MOST_OF_AN_ERROR.
    """
    successful, block = response.is_success, bytearray()
    left = most if successful else MOST_OF_AN_ERROR
    async with aclosing(response.aiter_bytes()) as parts:
        async for part in parts:
            if successful and len(part) > left:
                raise InvalidBody(f"its response is larger than {most:,} bytes")
            block += part[:left]
            left -= min(left, len(part))
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
            if not successful and not left:
                break
    yield bytes(block)


def body_limit_hook(most: int = MOST) -> Hook:
    """A response hook for an httpx2 client: bodies are then read through `decoded`."""
    import httpx2

    class Decoded(httpx2.AsyncByteStream):
        def __init__(self, response: "Response") -> None:
            self._response = response

        def __aiter__(self) -> AsyncIterator[bytes]:
            return decoded(self._response, most)

        async def aclose(self) -> None:
            await self._response.aclose()

    async def bound(response: "Response") -> None:
        # With nested encodings a few bytes could keep the decoders busy for hours. We request identity.
        encodings = response.headers.get_list("content-encoding", split_commas=True)
        if len(encodings) > 1:
            raise InvalidBody("its response is compressed more than once")
        received = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream, request=response.request
        )
        response.stream = Decoded(received)
        response.headers.pop("content-encoding", None)  # decoded already

    return bound


def check_brackets(body: bytes) -> None:
    """Raise InvalidBody for JSON that would take far more memory than its bytes."""
    if body.count(b"{") + body.count(b"[") > BRACKETS:
        raise InvalidBody(f"its response has more than {BRACKETS:,} brackets")
