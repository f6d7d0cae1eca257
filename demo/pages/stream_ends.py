"""The ends of gradio's event streams, kept in order with the answers to new events.

gradio's page reads the results of its events from one stream, which the server ends with `close_stream` when no event
is left. A new event opens a stream only if the page knows that the last one has ended. The answer to an event that was
sent at that moment can reach the page before `close_stream` does, on another connection: then the page opens no stream
(client/js, `if (!stream_status.open)`), and the results of this event are never read, however long the visitor waits.
Therefore the answer to an event waits here until the page has read the end of the stream before it, which it shows by
closing that connection.
"""

import asyncio
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

END = b'data: {"msg":"close_stream"'  # in texts of others the quotation marks are escaped
READ_SECONDS = 5.0  # for programs that leave the connection open


class StreamEnds:
    """The sessions to which the end of a stream was sent that they have not read yet."""

    def __init__(self, read_seconds: float = READ_SECONDS) -> None:
        self._unread: dict[str, asyncio.Event] = {}
        self._read_seconds = read_seconds

    async def stream(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a stream of events; after `close_stream` it stays open until the page has read that."""
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        read = asyncio.Event()

        async def passing(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            if END in message.get("body", b""):
                self._unread[session] = read
            elif not message.get("more_body", False) and self._unread.get(session) is read:
                await self._disconnected(receive)
            await send(message)

        try:
            await app(scope, receive, passing)
        finally:
            read.set()
            if self._unread.get(session) is read:
                del self._unread[session]

    def after(self, session: str, send: Send) -> Send:
        """A `send` whose response begins when the session has read the end of its last stream."""

        async def waiting(message: Message) -> None:
            if session in self._unread:
                await self._unread[session].wait()
            await send(message)

        return waiting

    async def _disconnected(self, receive: Receive) -> None:
        try:
            async with asyncio.timeout(self._read_seconds):
                while (await receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return
