"""Access control on a real server: hosts, origins, tokens and sizes."""

import socket
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from demo.api.app import build_api
from demo.api.serve import allowed_hosts, allowed_origins
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK, same_origin
from demo.server.limits import Limits
from llm.errors import ConfigError
from tests.demo.conftest import Server, listening, serve

TOKEN = "s3cret-ü"


@pytest.fixture(scope="module")
def locked(queue: GenerationQueue) -> Iterator[Server]:
    """A server with a token and bodies of at most 1,000 bytes."""
    yield from serve(queue, Limits(body=1000), TOKEN)


def get(server: Server, path: str = "/v1/models", **headers: str) -> int:
    """The status of a GET."""
    sent = {name: value.encode() for name, value in headers.items()}
    return httpx.get(server.url + path, headers=sent).status_code


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "localhost.evil.example", "[::1", "", "127.1"],
)
def test_unknown_hosts_are_rejected(server: Server, host: str) -> None:
    assert get(server, host=host) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:80"])
def test_own_hosts_are_accepted(server: Server, host: str) -> None:
    assert get(server, host=host) == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
def test_foreign_origins_are_rejected(server: Server, origin: str) -> None:
    assert get(server, origin=origin) == 403
    own = server.url.removeprefix("http://")
    assert get(server, origin=server.url) == 200
    assert (
        get(server, host=own.replace("127.0.0.1", "localhost"), origin=server.url.replace("127.0.0.1", "localhost"))
        == 200
    )
    for other in (
        "http://localhost:7860",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "https://127.0.0.1",
        "ftp://127.0.0.1",
    ):
        assert get(server, origin=other) == 403, f"a page of another server on this machine: {other}"


def test_no_cors_headers_are_sent(server: Server) -> None:
    asked = {"origin": "http://localhost:1", "access-control-request-method": "GET"}
    answer = httpx.options(server.url + "/v1/models", headers=asked)
    assert not any(name.startswith("access-control") for name in answer.headers)


SITE = "https://chat.example:8443"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}


@pytest.fixture(scope="module")
def shared(queue: GenerationQueue) -> Iterator[str]:
    """A server with a token that pages of SITE may use."""
    app = build_api(queue, LOOPBACK, TOKEN, Limits(body=1000), frozenset({SITE}))
    with listening(app) as url:
        yield url


def test_a_page_of_an_allowed_site_may_ask_and_read(shared: str) -> None:
    key = {"authorization": f"Bearer {TOKEN}".encode()}
    for origin in (SITE, SITE.upper()):
        asked = httpx.options(f"{shared}/v1/chat/completions", headers={"origin": origin, **PREFLIGHT})
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == origin and asked.headers["vary"] == "Origin"
        assert asked.headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE, OPTIONS"
        assert asked.headers["access-control-allow-headers"] == "authorization, *"
        answer = httpx.get(f"{shared}/v1/models", headers={"origin": origin.encode(), **key})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    for status, more in ((401, {}), (413, key)):
        headers = {"origin": SITE.encode(), **more}
        answer = httpx.post(f"{shared}/v1/chat/completions", content=b"x" * 1001, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, SITE), "errors are read"
    assert "access-control-allow-credentials" not in answer.headers
    alone = httpx.get(f"{shared}/v1/models", headers=key)
    assert alone.status_code == 200 and "access-control-allow-origin" not in alone.headers


@pytest.mark.parametrize(
    "origin", ["https://chat.example", "http://chat.example:8443", "https://a.chat.example:8443", "null", "*", ""]
)
def test_pages_of_other_sites_may_not(shared: str, origin: str) -> None:
    key = {"authorization": f"Bearer {TOKEN}".encode(), "origin": origin.encode()}
    for answer in (
        httpx.options(f"{shared}/v1/models", headers={"origin": origin, **PREFLIGHT}),
        httpx.get(f"{shared}/v1/models", headers=key),
    ):
        assert answer.status_code == 403
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_host_and_the_token_are_checked_for_allowed_sites_too(shared: str) -> None:
    asked = {"origin": SITE, **PREFLIGHT, "host": "evil.example"}
    assert httpx.options(f"{shared}/v1/models", headers=asked).status_code == 403
    assert httpx.options(f"{shared}/v1/models", headers={"origin": SITE}).status_code == 401, "no preflight"
    own = {"origin": shared, **PREFLIGHT}
    assert httpx.options(f"{shared}/v1/models", headers=own).status_code == 401, "the own pages need none"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://chat.example", "https://chat.example"),
        ("HTTPS://Chat.Example:443/", "https://chat.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(given: str, origin: str) -> None:
    assert allowed_origins([given, "https://b.example"]) == {origin, "https://b.example"}


@pytest.mark.parametrize(
    "given",
    ["*", "null", "", "chat.example", "https://", "ftp://a.example", "https://a.example/app", "https://a.example?x=1",
     "https://user@a.example", "https://a.example:x", "https://a.example:99999", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="--origin .*Give scheme, host and port as the browser shows them"):
        allowed_origins([given])


def test_a_token_link_sets_a_cookie(locked: Server) -> None:
    with httpx.Client(base_url=locked.url) as browser:
        assert browser.get("/v1/models").status_code == 401
        assert browser.get("/", params={"token": TOKEN + "x"}).status_code == 401
        assert browser.get("/", params={"token": TOKEN}, headers={"host": "evil.example"}).status_code == 403
        answer = browser.get("/", params={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert browser.get("/v1/models").status_code == 200
        browser.cookies.set("eyegraft", "wrong")
        assert browser.get("/v1/models", headers={"cookie": "eyegraft=wrong"}).status_code == 401


def test_the_content_security_policy_is_sent(server: Server) -> None:
    headers = httpx.get(server.url + "/healthz").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize("given", ["", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}"])
def test_without_the_token_every_path_is_unauthorized(locked: Server, given: str) -> None:
    assert get(locked, authorization=given) == 401
    assert get(locked, path="/v1/none", authorization=given) == 401
    assert get(locked, path="/openapi.json", authorization=given) == 401


def test_with_the_token(locked: Server) -> None:
    assert get(locked, authorization=f"Bearer {TOKEN}") == 200
    assert get(locked, path="/healthz") == 200


def test_large_bodies_are_rejected_with_and_without_a_length(locked: Server) -> None:
    headers = {"authorization": f"Bearer {TOKEN}".encode(), "content-type": b"application/json"}
    url = locked.url + "/v1/chat/completions"
    assert httpx.post(url, content=b"x" * 1001, headers=headers).status_code == 413
    assert httpx.post(url, content=(b"x" * 100 for _ in range(11)), headers=headers).status_code == 413
    assert httpx.post(url, content=(b"x" * 100 for _ in range(10)), headers=headers).status_code == 400  # not JSON


def test_a_client_that_disconnects_while_sending_is_ignored(locked: Server) -> None:
    host, port = locked.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\nx")
    assert get(locked, path="/healthz") == 200


def test_a_public_name_is_accepted_without_a_port_and_an_address_is_not() -> None:
    hosts = allowed_hosts("192.168.1.5", True, "s" * 16, "VLM.example")
    assert same_origin("https://vlm.example", "127.0.0.1:7860", hosts)
    assert not same_origin("http://192.168.1.5", "192.168.1.5:7860", hosts)
    assert same_origin("http://192.168.1.5:7860", "192.168.1.5:7860", hosts)
    assert not same_origin("https://vlm.example:8443", "vlm.example", hosts)


def test_a_public_address_needs_the_flag_and_a_token() -> None:
    assert allowed_hosts("127.0.0.1", False, "", "") == {"127.0.0.1", "localhost", "::1"}
    for public, token in ((False, ""), (True, ""), (False, "s" * 16)):
        with pytest.raises(ConfigError, match="--public"):
            allowed_hosts("0.0.0.0", public, token, "")
    assert {"10.0.0.5", "vlm.example"} <= allowed_hosts("10.0.0.5", True, "s" * 16, "vlm.example")
