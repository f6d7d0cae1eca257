"""The guard's limits on bodies, and what it adds to responses."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from demo.server.guard import (
    ErrorResponse,
    Guard,
    read_body,
    replay,
)
from demo.server.limits import Limits
from tests.demo.server.guarded import CHAT, HOSTS, LIMITS, TOKEN, App, ask, body_of, receiving

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


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"a": 1, "b": {"a": 2}}', None),
        (b'{"a": 1, "a": 1}', "a"),
        (b'[{"b": {"\\u0061": 1, "a": 2}}]', "a"),
        (b'{"b": [{"\xc3\xbc": 1, "\xc3\xbc": 2}]}', "ü"),
        (b'{"a": 1, "a"', None),  # no JSON: its reader says so
        (b'{"a": "\xff", "a": 2}', None),
        (b'{"a": 1, "b": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_a_key_that_is_given_twice_is_refused_by_name(body: bytes, key: str | None) -> None:
    answer = ask("/v1/anything", body=body_of(body), limits=Limits())
    assert answer.seen == ([body] if key is None else [])
    if key is not None:
        assert (answer.status, answer.error["param"]) == (400, key)
        assert answer.error["message"] == f"the key {key!r} is given twice in one object. Keep one"


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
