"""Every rule of the guard at its edges, without a server: status and message of each error."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from demo.server.guard import (
    ErrorResponse,
    Guard,
    cookie_of,
    host_of,
    is_address,
    read_body,
    replay,
    same_origin,
    shared_address,
    visitor_of,
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


# Host ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True),
        ("LocalHost:7860", True),
        ("127.0.0.1:80", True),
        ("[::1]", True),
        ("[::1]:7860", True),
        ("VLM.example:443", True),
        ("192.168.1.5", True),
        ("[2001:DB8::5]:7860", True),
        (None, False),
        ("", False),
        ("::1", False),
        ("[::1", False),
        ("[::2]:7860", False),
        ("localhost.", False),
        ("127.0.0.2", False),
        ("192.168.1.50", False),
        ("vlm.example.evil.org", False),
        ("evil.org", False),
    ],
)
def test_accepted_and_rejected_hosts(host: str | None, served: bool) -> None:
    answer = ask(host=host)
    assert answer.status == (200 if served else 403) and answer.seen == ([b""] if served else [])
    if not served:
        assert json.loads(answer.body) == {
            "error": {
                "message": "this server does not answer to that Host",
                "type": "invalid_request_error",
                "param": None,
                "code": "host",
            },
            "detail": "this server does not answer to that Host",
        }
        assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.body))}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("//LocalHost:80", "localhost"),
        ("//[::1]:80", "::1"),
        ("http://a.b/c?d", "a.b"),
        ("//", ""),
        ("", ""),
        ("localhost", ""),
        ("//[::1", ""),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


# Origin --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:7860", "localhost:7860", True),
        ("http://localhost:7860", "localhost:7861", False),
        ("http://localhost:7860", "localhost", False),
        ("http://localhost", "localhost:7860", False),
        ("http://localhost", "localhost", True),
        ("http://localhost:80", "localhost", True),
        ("http://localhost", "localhost:80", True),
        ("http://localhost", "localhost:443", False),
        ("https://localhost", "localhost:443", True),
        ("https://localhost:443", "localhost", True),
        ("https://localhost", "localhost:80", False),
        ("HTTP://LOCALHOST:7860", "LocalHost:7860", True),
        ("http://127.0.0.1:7860", "localhost:7860", False),
        ("http://[::1]:7860", "[::1]:7860", True),
        ("http://[::1]:7860", "[::1]:7861", False),
        ("http://[::1]", "[::1]", True),
        ("http://[::1]:7860", "localhost:7860", False),
        ("http://192.168.1.5:7860", "192.168.1.5:7860", True),
        ("http://192.168.1.5", "192.168.1.5:7860", False),
        ("http://192.168.1.5", "127.0.0.1:7860", False),
        ("http://[2001:db8::5]:7860", "[2001:db8::5]:7860", True),
        ("http://[2001:db8::5]", "127.0.0.1:7860", False),
        # A proxy replaces Host: the public name is accepted, but only without a port.
        ("https://vlm.example", "127.0.0.1:7860", True),
        ("http://VLM.example", "10.0.0.1", True),
        ("https://vlm.example:8443", "vlm.example:8443", True),
        ("https://vlm.example:8443", "vlm.example", False),
        ("https://vlm.example:8443", "127.0.0.1:8443", False),
        ("https://localhost", "127.0.0.1:7860", False),
        # Foreign names, and invalid origins.
        ("http://evil.example", "evil.example", False),
        ("https://evil.example", "localhost:443", False),
        ("ftp://localhost:7860", "localhost:7860", False),
        ("ws://localhost", "localhost", False),
        ("file://", "localhost", False),
        ("null", "localhost", False),
        ("", "localhost", False),
        ("http://", "localhost", False),
        ("http://", "", False),
        ("http://localhost:65536", "localhost:65536", False),
        ("http://localhost", "localhost:x", False),
        ("http://[::1", "[::1]", False),
    ],
)
def test_same_origin(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host, HOSTS) is same


def test_the_error_for_a_foreign_origin() -> None:
    assert ask(host="localhost:7860", origin="http://localhost:7860").status == 200
    answer = ask(host="localhost:7860", origin="http://localhost:7861")
    assert answer.status == 403 and answer.seen == []
    assert (
        answer.error["code"] == "origin"
        and answer.error["message"] == "requests from pages of other sites are not accepted"
    )
    assert ask(host="localhost", origin="").status == 403, "an empty Origin is foreign"


# Token ---------------------------------------------------------------------------------------------------------------

WANTED = "wrong or missing token: send Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser"


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, False),
        ({"authorization": ""}, False),
        ({"authorization": f"Bearer {TOKEN}"}, True),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, False),
        ({"authorization": f"Bearer {TOKEN}x"}, False),
        ({"authorization": f"Bearer Bearer {TOKEN}"}, False),
        ({"authorization": f"Basic {TOKEN}"}, False),
        ({"authorization": f"Bearer {COOKIE}"}, False),
        ({"cookie": f"eyegraft={COOKIE}"}, True),
        ({"cookie": f"a=b; eyegraft={COOKIE}; c=d"}, True),
        ({"cookie": f"eyegraft={COOKIE[:-1]}"}, False),
        ({"cookie": f"eyegraft={TOKEN}"}, False),
        ({"cookie": f"other={COOKIE}"}, False),
        ({"authorization": "Bearer x", "cookie": f"eyegraft={COOKIE}"}, True),
        ({"authorization": f"Bearer {TOKEN}", "cookie": "eyegraft=x"}, True),
    ],
)
def test_a_token_or_its_cookie_is_accepted(headers: dict[str, str], let_in: bool) -> None:
    assert cookie_of(TOKEN) == COOKIE
    answer = ask(token=TOKEN, **headers)
    assert answer.status == (200 if let_in else 401) and answer.seen == ([b""] if let_in else [])
    if not let_in:
        assert (answer.error["message"], answer.error["type"]) == (WANTED, "authentication_error")
        assert (answer.error["code"], answer.error["param"]) == (None, None)
    assert ask(**headers).status == 200, "a server without a token accepts all requests"


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/healthz/", 401), ("/", 401), ("/v1/models", 401)])
def test_only_healthz_needs_no_token(path: str, status: int) -> None:
    assert ask(path, token=TOKEN).status == status


def test_the_order_of_checks_is_host_origin_token_length() -> None:
    assert ask(token=TOKEN, host="evil.org", origin="http://evil.org", content_length="11").error["code"] == "host"
    assert ask(token=TOKEN, origin="http://evil.org", content_length="11").error["code"] == "origin"
    assert ask("/healthz", token=TOKEN, host="evil.org").status == 403, "also for a path without a token"
    assert ask(token=TOKEN, content_length="11").status == 401


def test_a_token_in_the_url_is_exchanged_for_a_cookie() -> None:
    shown = b"token=s3cret-%C3%BC-of-a-test"
    answer = ask("/", token=TOKEN, query=shown)
    assert (answer.status, answer.body, answer.seen) == (303, b"", [])
    assert answer.headers == {
        "location": "/",
        "set-cookie": f"eyegraft={COOKIE}; HttpOnly; SameSite=Strict; Path=/",
        "content-length": "0",
    }
    assert ask("/", token=TOKEN, query=b"a=b&" + shown + b"&token=x").status == 303, (
        "the first of several tokens counts"
    )


@pytest.mark.parametrize(
    ("path", "query", "host", "status"),
    [
        ("/", b"token=s3cret-%C3%BC-of-a-tes", "localhost", 401),
        ("/", b"token=x&token=s3cret-%C3%BC-of-a-test", "localhost", 401),
        ("/", b"token=", "localhost", 401),
        ("/", b"", "localhost", 401),
        ("/config", b"token=s3cret-%C3%BC-of-a-test", "localhost", 401),
        ("/", b"token=s3cret-%C3%BC-of-a-test", "evil.org", 403),
    ],
)
def test_a_url_with_a_wrong_token_sets_no_cookie(path: str, query: bytes, host: str, status: int) -> None:
    answer = ask(path, token=TOKEN, query=query, host=host)
    assert answer.status == status and "set-cookie" not in answer.headers


def test_without_a_token_an_empty_one_sets_no_cookie() -> None:
    answer = ask("/", query=b"token=")
    assert (answer.status, answer.seen) == (200, [b""]) and "set-cookie" not in answer.headers


# Sizes ---------------------------------------------------------------------------------------------------------------

LARGE = "the request is larger than 10 bytes"


@pytest.mark.parametrize(
    ("length", "status", "found"),
    [
        ("9", 200, ""),
        ("10", 200, ""),
        ("11", 413, LARGE),
        ("1" * 30, 413, LARGE),
        ("x", 400, "Content-Length is not a number"),
        ("-1", 400, "Content-Length is not a number"),
        ("1.0", 400, "Content-Length is not a number"),
        ("", 400, "Content-Length is not a number"),
    ],
)
def test_content_length_is_checked_before_the_body_is_read(length: str, status: int, found: str) -> None:
    answer = ask(content_length=length)
    assert answer.status == status and (status == 200 or answer.error["message"] == found)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((b"123456789",), 200),
        ((b"1234567890",), 200),
        ((b"12345", b"67890"), 200),
        ((b"1234567890", b""), 200),
        ((b"12345678901",), 413),
        ((b"12345", b"678901"), 413),
        ((b"1234567890", b"", b"1"), 413),
    ],
)
def test_the_body_is_counted_while_it_is_read(parts: tuple[bytes, ...], status: int) -> None:
    answer = ask(body=body_of(*parts), content_length="1")
    assert answer.status == status
    assert answer.seen == ([b"".join(parts)] if status == 200 else [])
    assert status == 200 or answer.error["message"] == LARGE


def test_a_body_that_is_too_large_is_not_read_completely() -> None:
    """The last part of this body never arrives."""
    unfinished = [{"type": "http.request", "body": b"12345678901", "more_body": True}]
    assert asyncio.run(read_body(receiving(unfinished), 10)) is None
    assert ask(body=unfinished).status == 413


def test_an_incomplete_body_times_out() -> None:
    answer = ask(body=[{"type": "http.request", "body": b"1", "more_body": True}])
    assert (answer.status, answer.seen) == (408, [])
    assert answer.error["message"] == "the request was not complete within 0.05 s"
    assert answer.headers["connection"] == "close"
    assert "connection" not in ask(content_length="11").headers, "only after a timeout"


def test_an_interrupted_body_gets_no_response() -> None:
    half: list[Message] = [{"type": "http.request", "body": b"1", "more_body": True}, {"type": "http.disconnect"}]
    with pytest.raises(ClientDisconnect):
        asyncio.run(read_body(receiving(half), 10))
    answer = ask(body=half)
    assert (answer.status, answer.seen) == (0, []), "the client has disconnected"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CHAT, b"[1,2,3]", 200),
        (CHAT, b"[1,2,3,4]", 413),
        (CHAT, b"", 200),
        ("/gradio_api/upload", b"[1,2,3,4]", 200),
        ("/gradio_api/upload/", b"[1,2,3,4]", 413),
        ("/gradio_api/upload", b"12345678901", 413),
    ],
)
def test_json_bounds_hold_for_all_bodies_except_uploads(path: str, body: bytes, status: int) -> None:
    answer = ask(path, body=body_of(body), content_type="multipart/form-data")
    assert answer.status == status and answer.seen == ([body] if status == 200 else [])
    if status == 413 and len(body) <= 10:
        assert answer.error["message"] == "the request has more than 3 values"


# Responses -----------------------------------------------------------------------------------------------------------


def test_security_headers_are_added_to_every_response() -> None:
    assert ask().headers == {
        "x-own": "1",
        "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }


def test_replay_returns_the_body_once() -> None:
    async def go() -> list[Message]:
        again = replay(b"body", receiving([{"type": "http.disconnect"}]))
        return [await again(), await again()]

    assert asyncio.run(go()) == [
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.disconnect"},
    ]


def other(kind: str, host: bytes = b"localhost") -> tuple[list[Message], App]:
    """The messages sent for a scope of this type, and the application."""
    sent: list[Message] = []
    app = App()

    async def send(message: Message) -> None:
        sent.append(message)

    shown = b"token=s3cret-%C3%BC-of-a-test"
    headers = [(b"host", host), (b"authorization", b"Bearer " + TOKEN.encode())]
    scope = {"type": kind, "path": "/", "query_string": shown, "headers": headers}
    asyncio.run(Guard(app, HOSTS, TOKEN, LIMITS)(scope, receiving([]), send))
    return sent, app


@pytest.mark.parametrize("host", [b"localhost", b"evil.org"])
def test_websockets_are_closed(host: bytes) -> None:
    sent, app = other("websocket", host)
    assert sent == [{"type": "websocket.close", "code": 1008}] and app.scopes == []


def test_lifespan_events_are_passed_on() -> None:
    sent, app = other("lifespan")
    assert sent == [] and app.scopes == ["lifespan"]


def test_the_body_of_an_error_response() -> None:
    assert ErrorResponse(401, "no", "authentication_error", "c", "p").body() == {
        "error": {"message": "no", "type": "authentication_error", "param": "p", "code": "c"},
        "detail": "no",
    }
    assert ErrorResponse(400, "no").body()["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "shared"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.8", "10.0.0.8"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::ffff:a00:7", "10.0.0.7"),
        ("::1", "::/64"),
        ("2001:db8:0:2::", "2001:db8:0:2::/64"),
        ("2001:db8:0:2:ffff:ffff:ffff:ffff", "2001:db8:0:2::/64"),
        ("2001:db8:0:3::", "2001:db8:0:3::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_addresses_that_count_as_one_visitor(host: str, shared: str) -> None:
    assert shared_address(host) == shared


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", False), ("127.1", False), ("localhost", False), ("", False)],
)
def test_is_address(host: str, is_one: bool) -> None:
    assert is_address(host) is is_one


def test_forwarding_headers_do_not_change_the_visitor() -> None:
    headers = [(b"x-forwarded-for", b"9.9.9.9"), (b"forwarded", b"for=9.9.9.9"), (b"x-real-ip", b"9.9.9.9")]
    scope: Scope = {"type": "http", "headers": headers, "client": ("2001:db8:0:2::7", 5)}
    assert visitor_of(HTTPConnection(scope)) == "2001:db8:0:2::/64"
    assert visitor_of(HTTPConnection(scope | {"client": None})) == ""
