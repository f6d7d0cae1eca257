"""Access control: requests are accepted or rejected by their headers and size, before anything is parsed.

A page of another site can make a browser send requests to 127.0.0.1, which shows in Origin; and a host name of that
site can be made to resolve to 127.0.0.1, which shows in Host. A page of another server on this machine has another
port in its Origin.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.server.json_bounds import excess, repeated_key
from demo.server.limits import Limits
from demo.server.refusals import Reason
from demo.server.sign_in import SIGN_IN, sign_in_page, wants_page

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Whatever text the page shows, it loads nothing from other sites, and no other page may frame it.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
# What a page of an allowed origin may send. `*` does not cover authorization. Chrome asks for the third before requests
# from public sites to private addresses.
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, *"),
    (b"access-control-allow-private-network", b"true"),
    (b"access-control-max-age", b"600"),
]
USUAL_PORTS = {"http": 80, "https": 443}
COOKIE = "eyegraft"
NO_TOKEN, TOO_SLOW = 401, 408
UPLOAD = "/gradio_api/upload"  # the only request whose body is not JSON
OPEN_PATHS = frozenset({"/healthz"})  # answered without a token


def ignore(_: Reason, __: int) -> None:
    """Count no refusals."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error in the format of OpenAI's API."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    reason: Reason = "request"  # by which it is counted

    def body(self) -> dict[str, Any]:
        """The JSON body; gradio's frontend shows `detail`."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error, "detail": self.message}


@dataclass(frozen=True, slots=True)
class BodyRoom:
    """The most bytes of a body that is read as it arrives, and the error for a larger one."""

    most: int
    refusal: ErrorResponse


Streams = Mapping[str, Callable[[], BodyRoom]]
NO_STREAMS: Streams = MappingProxyType({})


class Guard:
    """ASGI middleware that rejects foreign hosts and origins (403), wrong tokens (401), bodies that are too large
    (413), compressed (415) or too slow (408), JSON that exceeds its bounds (413), and keys given twice (400).
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: frozenset[str],
        token: str,
        limits: Limits,
        origins: frozenset[str] = frozenset(),
        streams: Streams = NO_STREAMS,
        refused: Callable[[Reason, int], None] = ignore,
    ) -> None:
        """`origins` are the addresses of other sites whose pages may send requests, with the token as all.

        `streams`: paths to which bodies are posted that are not JSON and are read as they arrive, with what finds out
        how much room there is; it is asked in a thread. `refused` is called with the reason of each rejected request,
        and with the most bytes of one.
        """
        self.app, self.hosts, self.token, self.limits, self.origins = app, hosts, token, limits, origins
        self.streams, self._refused = streams, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin", "")
        if origin.lower() in self.origins:
            send = with_headers(send, cors_headers(origin))
        if self._is_token_link(scope):
            await send({"type": "http.response.start", "status": 303, "headers": self._cookie_headers()})
            await send({"type": "http.response.body", "body": b""})
            return
        open_to_all = scope["path"] in OPEN_PATHS or self._is_preflight(scope)
        room_of = self.streams.get(scope["path"]) if scope.get("method") == "POST" else None
        error = self._check_headers(Headers(scope=scope), open_to_all)
        if error is None and room_of is None:
            error = _check_length(scope, BodyRoom(self.limits.body, too_large(self.limits.body)))
        if error is None and scope["type"] != "http":
            error = ErrorResponse(404, "this server only speaks HTTP")
        if error is not None:
            await self._refuse(error, scope, send)
            return
        if self._is_preflight(scope):
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await send({"type": "http.response.body", "body": b""})
            return
        if self.token and scope["path"] == SIGN_IN and scope["method"] == "POST":
            cookie = [pair for pair in self._cookie_headers() if pair[0] == b"set-cookie"]
            await send({"type": "http.response.start", "status": 204, "headers": cookie})
            await send({"type": "http.response.body", "body": b""})
            return
        if room_of is not None:
            await self._pass_stream(await run_sync(room_of), scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_stream(self, room: BodyRoom, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with a body that is counted while it is read: one that is too large ends there."""
        error = _check_length(scope, room)
        if error is not None:
            self._refused("upload", room.most)
            await send_error(error, scope, send)
            return
        counted = CountedBody(receive, send, room.most)
        try:
            await self.app(scope, counted.receive, with_headers(counted.send, SECURITY_HEADERS))
        except ClientDisconnect:
            if not counted.is_over:
                raise
        if counted.is_over:
            self._refused("upload", room.most)
            await send_error(room.refusal, scope, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the complete body and call the application with it, or send an error."""
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await read_body(receive, self.limits.body)
        except TimeoutError:
            found = f"the request was not complete within {self.limits.body_seconds:g} s"
            await self._refuse(ErrorResponse(TOO_SLOW, found, reason="slow"), scope, send)
            return
        except ClientDisconnect:
            return
        if body is None:
            await self._refuse(too_large(self.limits.body), scope, send)
            return
        error = self._check_json(scope["path"], body)
        if error is not None:
            await self._refuse(error, scope, send)
            return
        await self.app(scope, replay(body, receive), with_headers(send, SECURITY_HEADERS))

    async def _refuse(self, error: ErrorResponse, scope: Scope, send: Send) -> None:
        self._refused(error.reason, self.limits.body)
        await _send_refusal(error, scope, send)

    def _check_json(self, path: str, body: bytes) -> ErrorResponse | None:
        """The bounds hold whatever the content type claims; uploads are checked by the page's own gate."""
        if not body or path == UPLOAD:
            return None
        if found := excess(body, self.limits.json):
            return ErrorResponse(413, f"the request has {found}", reason="structure")
        key = repeated_key(body)
        if key is None:
            return None
        return ErrorResponse(400, f"the key {key[:80]!r} is given twice in one object. Keep one", param=key[:80])

    def _check_headers(self, headers: Headers, open_to_all: bool) -> ErrorResponse | None:
        if host_of(f"//{headers.get('host', '')}") not in self.hosts:
            return ErrorResponse(403, "this server does not answer to that Host", code="host", reason="host")
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin, headers.get("host", "")):
            found = "requests from pages of other sites are not accepted"
            return ErrorResponse(403, found, code="origin", reason="origin")
        if self.token and not open_to_all and not self._has_token(headers):
            found = "wrong or missing token: send Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser"
            return ErrorResponse(NO_TOKEN, found, "authentication_error", reason="token")
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity"):
            found = f"the body is compressed (Content-Encoding: {coding[:40]}). Send it as it is"
            return ErrorResponse(415, found, reason="encoding")
        length = headers.get("content-length", "0")
        return None if length.isdecimal() else ErrorResponse(400, "Content-Length is not a number", reason="header")

    def _is_preflight(self, scope: Scope) -> bool:
        """Whether a browser asks what a page of an allowed site may send: without a token, and it gets no data."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            return False
        headers = Headers(scope=scope)
        return headers.get("origin", "").lower() in self.origins and "access-control-request-method" in headers

    def _is_allowed(self, origin: str, host: str) -> bool:
        return origin.lower() in self.origins or same_origin(origin, host, self.hosts)

    def _has_token(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        # Starlette decodes header bytes as latin-1.
        return equals_secret(given.encode("latin-1"), self.token) or equals_secret(
            cookie.encode("latin-1"), cookie_of(self.token)
        )

    def _is_token_link(self, scope: Scope) -> bool:
        """Whether the URL carries the token, which a browser exchanges for a cookie."""
        if not self.token or scope["type"] != "http" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        host = host_of(f"//{Headers(scope=scope).get('host', '')}")
        return host in self.hosts and equals_secret(given.encode("utf-8", "replace"), self.token)

    def _cookie_headers(self) -> list[tuple[bytes, bytes]]:
        """A cookie out of reach of scripts and other sites, and a redirect to the URL without the token."""
        cookie = f"{COOKIE}={cookie_of(self.token)}; HttpOnly; SameSite=Strict; Path=/"
        return [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]


def cors_headers(origin: str) -> list[tuple[bytes, bytes]]:
    """The headers that let a page of another origin read the response; cookies are not for it."""
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]


def too_large(limit: int) -> ErrorResponse:
    """The error for a body of more than `limit` bytes."""
    return ErrorResponse(413, f"the request is larger than {limit:,} bytes", reason="body")


def with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    """A `send` that adds headers to the response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


def equals_secret(given: bytes, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given, secret.encode())


def same_origin(origin: str, host: str, hosts: frozenset[str]) -> bool:
    """Whether an Origin header names the server that the Host header names: same name, same port.

    A proxy may replace Host by its upstream's address: the public name (`--name`) is also accepted without a port.
    """
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        usual = USUAL_PORTS[page.scheme]
        same_port = (page.port or usual) == (server.port or usual)
    except (KeyError, ValueError):
        return False
    name = page.hostname or ""
    if name in hosts - LOOPBACK and page.port is None and not is_address(name):
        return True
    return name in hosts and name == server.hostname and same_port


def visitor_of(request: HTTPConnection) -> str:
    """The visitor whose share a request uses: the address of the connection. Forwarding headers are not trusted."""
    return shared_address(request.client.host) if request.client else ""


def shared_address(host: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address: one visitor owns all of it."""
    if not is_address(host):
        return host
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def is_address(host: str) -> bool:
    """Whether it is an IP address and not a host name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def cookie_of(token: str) -> str:
    """The cookie value for a token."""
    return hashlib.sha256(f"eyegraft {token}".encode()).hexdigest()


def host_of(url: str) -> str:
    """The host name of a URL in lower case, without the port; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The complete body, or None as soon as it exceeds `limit` bytes. Raises ClientDisconnect for an incomplete one."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect  # gradio would store the part of a file that arrived
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _check_length(scope: Scope, room: BodyRoom) -> ErrorResponse | None:
    """The error for a body whose headers announce more than there is room for."""
    return room.refusal if int(Headers(scope=scope).get("content-length", "0")) > room.most else None


class CountedBody:
    """A body that seems broken off to its reader once it exceeds `most` bytes, which its headers did not announce.

    What the reader answers then is not sent.
    """

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left = receive, send, most
        self._answers = False

    @property
    def is_over(self) -> bool:
        """Whether it was too large, and nothing has been answered."""
        return self._left < 0 and not self._answers

    async def receive(self) -> Message:
        """The next part, or the end of the connection."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self._left < 0 else message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, unless the body is too large."""
        if not self.is_over:
            self._answers = True
            await self._send(message)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body once, then what follows it: the disconnection."""
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


async def _send_refusal(error: ErrorResponse, scope: Scope, send: Send) -> None:
    """Send an error; a browser without a valid token gets a page that says how to sign in."""
    if error.status != NO_TOKEN or not wants_page(scope):
        await send_error(error, scope, send)
        return
    page = sign_in_page(scope)
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(page)).encode())]
    headers += [(b"cache-control", b"no-store"), *SECURITY_HEADERS]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page})


async def send_error(error: ErrorResponse, scope: Scope, send: Send) -> None:
    """Send an error. A websocket is closed instead."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status == TOO_SLOW:  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
