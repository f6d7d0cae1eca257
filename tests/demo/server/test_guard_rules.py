"""The guard's rules on hosts, origins, tokens and addresses at their edges, without a server."""

import json

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Scope

from demo.server.guard import (
    cookie_of,
    host_of,
    is_address,
    same_origin,
    shared_address,
    visitor_of,
)
from tests.demo.server.guarded import COOKIE, HOSTS, TOKEN, ask


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
