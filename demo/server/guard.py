"""Who may ask at all: judged from headers and size, before anything is parsed.

A page on another site can make a browser send requests to 127.0.0.1, and a name it owns can be made to point there.
The first shows in Origin, the second in Host. A page of another server on this machine has another port in its Origin.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.json_bounds import excess
from demo.server.limits import Limits

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# The page loads nothing from elsewhere, whatever is written into it, and no other page may frame it.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SAFE = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
COOKIE = "eyegraft"
TOO_SLOW = 408
UPLOAD = "/gradio_api/upload"  # the one body that is no JSON
OPEN_PATHS = frozenset({"/healthz"})  # answered without a token: it says nothing but that somebody is there


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An answer in OpenAI's error shape."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON of it; the page's browser side shows `detail`."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error, "detail": self.message}


class Guard:
    """ASGI middleware. Refuses foreign hosts and origins (403), a wrong token (401), bodies that are large (413), slow
    (408) or JSON out of bounds (413).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str, limits: Limits) -> None:
        self.app, self.hosts, self.token, self.limits = app, hosts, token, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._opens_the_page(scope):
            await send({"type": "http.response.start", "status": 303, "headers": self._ticket()})
            await send({"type": "http.response.body", "body": b""})
            return
        refusal = self._judge(headers, scope["path"])
        if refusal is not None or scope["type"] != "http":
            await send_error(refusal or ErrorResponse(404, "only HTTP is spoken here"), scope, send)
            return
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await read_body(receive, self.limits.body)
        except TimeoutError:
            await send_error(
                ErrorResponse(TOO_SLOW, f"no complete request within {self.limits.body_seconds:g} s"), scope, send
            )
            return
        except ClientDisconnect:
            return
        refusal = self._judge_body(scope["path"], body)
        if refusal is not None or body is None:
            await send_error(refusal or self._too_large(), scope, send)
            return
        await self.app(scope, replay(body, receive), with_headers(send, SAFE))

    def _judge_body(self, path: str, body: bytes | None) -> ErrorResponse | None:
        if body is None:
            return self._too_large()
        if not body or path == UPLOAD:  # whatever its headers call it; uploads are counted where they are taken
            return None
        found = excess(body, self.limits.json)
        return ErrorResponse(413, f"the request has {found}") if found else None

    def _too_large(self) -> ErrorResponse:
        return ErrorResponse(413, f"the request is larger than {self.limits.body:,} bytes")

    def _judge(self, headers: Headers, path: str) -> ErrorResponse | None:
        if host_of(f"//{headers.get('host', '')}") not in self.hosts:
            return ErrorResponse(403, "this Host is not served here", code="host")
        origin = headers.get("origin")
        if origin is not None and not same_origin(origin, headers.get("host", ""), self.hosts):
            return ErrorResponse(403, "pages of other sites may not ask here", code="origin")
        if self.token and path not in OPEN_PATHS and not self._has_token(headers):
            found = "wrong or missing token: send Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser"
            return ErrorResponse(401, found, "authentication_error")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return ErrorResponse(400, "Content-Length is no number")
        return self._too_large() if int(length) > self.limits.body else None

    def _has_token(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        # Header bytes arrive read as latin-1.
        return same(given.encode("latin-1"), self.token) or same(cookie.encode("latin-1"), cookie_of(self.token))

    def _opens_the_page(self, scope: Scope) -> bool:
        """Whether a browser shows the token in the address, to get a cookie for it."""
        if not self.token or scope["type"] != "http" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        host = host_of(f"//{Headers(scope=scope).get('host', '')}")
        return host in self.hosts and same(given.encode("utf-8", "replace"), self.token)

    def _ticket(self) -> list[tuple[bytes, bytes]]:
        """A cookie that scripts and other sites' requests do not get, and the way back without the token."""
        cookie = f"{COOKIE}={cookie_of(self.token)}; HttpOnly; SameSite=Strict; Path=/"
        return [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]


def with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    """The same answer with more headers."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


def same(given: bytes, secret: str) -> bool:
    """Equal, in constant time."""
    return hmac.compare_digest(given, secret.encode())


def same_origin(origin: str, host: str, hosts: frozenset[str]) -> bool:
    """Whether a page of `origin` belongs to the server that `host` names: the same name and port.

    A proxy may replace Host by its upstream's address, so the public name (`--name`) is also accepted without a port.
    """
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        usual = {"http": 80, "https": 443}[page.scheme]
        same_port = (page.port or usual) == (server.port or usual)
    except (KeyError, ValueError):
        return False
    name = page.hostname or ""
    if name in hosts - LOOPBACK and page.port is None and not is_address(name):
        return True
    return name in hosts and name == server.hostname and same_port


def visitor_of(request: HTTPConnection) -> str:
    """Who asks, for shares: the address of the connection. What a proxy or a client says of itself is not believed."""
    return shared_address(request.client.host) if request.client else ""


def shared_address(host: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, all of which one visitor has."""
    if not is_address(host):
        return host
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def is_address(host: str) -> bool:
    """Whether it is no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def cookie_of(token: str) -> str:
    """The cookie that stands for a token."""
    return hashlib.sha256(f"eyegraft {token}".encode()).hexdigest()


def host_of(url: str) -> str:
    """The host name of a URL, lower case, without port; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None as soon as it is longer than `limit`, whatever its headers promised."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect  # half a body is no request: gradio would keep half a file
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever comes after it: a disconnection."""
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


async def send_error(refusal: ErrorResponse, scope: Scope, send: Send) -> None:
    """Send a refusal. A websocket is closed instead."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == TOO_SLOW:  # what comes of it later is not waited for
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
