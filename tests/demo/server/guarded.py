"""One request through the guard without a server: its response, and what reached the application."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from demo.server.guard import (
    Guard,
)
from demo.server.limits import JsonBounds, Limits

TOKEN = "s3cret-ü-of-a-test"

COOKIE = hashlib.sha256(b"eyegraft s3cret-\xc3\xbc-of-a-test").hexdigest()

HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "192.168.1.5", "2001:db8::5", "vlm.example"})

LIMITS = Limits(body=10, body_seconds=0.05, json=JsonBounds(items=3))

CHAT = "/v1/chat/completions"


@dataclass
class App:
    """The application after the guard: records the bodies that reach it and answers 200."""

    seen: list[bytes] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        message = await receive()
        assert message["more_body"] is False
        self.seen.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Answer:
    """The response, and the bodies that reached the application."""

    status: int
    headers: dict[str, str]
    body: bytes
    seen: list[bytes]

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def body_of(*parts: bytes) -> list[Message]:
    """A body in parts, as ASGI messages."""
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": number < last}
        for number, part in enumerate(parts or (b"",))
    ]


def receiving(messages: list[Message]) -> Receive:
    """A `receive` that returns these messages and then blocks."""
    left: Iterator[Message] = iter(messages)

    async def receive() -> Message:
        message = next(left, None)
        if message is None:
            await asyncio.sleep(60)
        assert message is not None
        return message

    return receive


def ask(
    path: str = CHAT,
    *,
    token: str = "",
    query: bytes = b"",
    body: list[Message] | None = None,
    limits: Limits = LIMITS,
    **headers: str | None,
) -> Answer:
    """Send one request. `host` is localhost by default; a header of None is omitted."""
    given = {"host": "localhost"} | headers
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items() if value is not None]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": raw}
    sent: list[Message] = []
    app = App()

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(app, HOSTS, token, limits)
    asyncio.run(guard(scope, receiving(body_of() if body is None else body), send))
    if not sent:
        return Answer(0, {}, b"", app.seen)
    start, *rest = sent
    said = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], said, b"".join(part["body"] for part in rest), app.seen)
