"""Bodies of responses, decoded and bounded while they arrive: what a server sends is never held beyond a limit."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2 import Response

MOST = 16 << 20  # bytes of an answer, its probabilities included
MOST_OF_AN_ERROR = 1 << 16  # bytes; one line of it is shown
BRACKETS = 1 << 18  # opened in an answer: each costs some hundred bytes of memory when it is parsed
REDIRECTS = 4  # to follow for one request
_BLOCK = 1 << 16  # bytes; a server may send them one by one, and each would be an object of its own

Hook = Callable[["Response"], Awaitable[None]]


class InvalidBody(Exception):
    """A body that is not read: why."""


async def decoded(response: "Response", most: int) -> AsyncIterator[bytes]:
    """The body in blocks. Raises BadBody behind `most` bytes of an answer.

    The body of an error or a redirect ends at MOST_OF_AN_ERROR: its status says what happened.
    """
    whole, block = response.is_success, bytearray()
    left = most if whole else MOST_OF_AN_ERROR
    async with aclosing(response.aiter_bytes()) as parts:
        async for part in parts:
            if whole and len(part) > left:
                raise InvalidBody(f"its answer is larger than {most:,} bytes")
            block += part[:left]
            left -= min(left, len(part))
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
            if not whole and not left:
                break
    yield bytes(block)


def bounding(most: int = MOST) -> Hook:
    """A hook of an httpx2 client after which every read of a response, by whomever, is that of `decoded`."""
    import httpx2

    class Decoded(httpx2.AsyncByteStream):
        def __init__(self, response: "Response") -> None:
            self._response = response

        def __aiter__(self) -> AsyncIterator[bytes]:
            return decoded(self._response, most)

        async def aclose(self) -> None:
            await self._response.aclose()

    async def bound(response: "Response") -> None:
        # One inside another, a few bytes could keep the decoders busy for hours. We ask for none at all.
        encodings = response.headers.get_list("content-encoding", split_commas=True)
        if len(encodings) > 1:
            raise InvalidBody("its answer is compressed more than once")
        received = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream, request=response.request
        )
        response.stream = Decoded(received)
        response.headers.pop("content-encoding", None)  # decoded already

    return bound


def check_brackets(body: bytes) -> None:
    """BadBody for JSON that takes far more memory than bytes."""
    if body.count(b"{") + body.count(b"[") > BRACKETS:
        raise InvalidBody(f"its answer has more than {BRACKETS:,} brackets")
