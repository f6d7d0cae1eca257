"""The language of the page: the visitor's choice, which a cookie keeps, or the browser's.

gradio's frontend translates labels by `navigator.language`, the server makes texts by Accept-Language. A visitor who
has chosen gets both set to the choice, so that neither knows of it.
"""

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm.i18n.translate import Language

COOKIE = "eyegraft_language"
TAGS = {"en": "en-US", "zh": "zh-CN"}  # by the value of ?lang= and of the cookie
YEAR = 365 * 24 * 3600  # seconds


def preferred_language(headers: Mapping[str, str]) -> Language:
    """`zh` for a browser whose preferred language is Chinese, else `en`."""
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def is_root(path: str) -> bool:
    """The one address of gradio's page."""
    return path == "/"


class LanguageChoice:
    """ASGI middleware: `/?lang=zh` stores a choice, and every request of a visitor with one has its language."""

    def __init__(self, app: ASGIApp, pages: Callable[[str], bool] = is_root) -> None:
        """`pages`: whether a person opens this path."""
        self.app, self.pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = ""
        if self.pages(scope["path"]):
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[0]
        choice = asked if asked in TAGS else chosen(Headers(scope=scope))
        if not choice:
            await self.app(scope, receive, send)
            return
        headers = MutableHeaders(raw=[pair for pair in scope["headers"] if pair[0] != b"accept-language"])
        headers["accept-language"] = TAGS[choice]
        if self.pages(scope["path"]) and scope["method"] == "GET":
            send = PageResponse(send, choice).send
        await self.app({**scope, "headers": headers.raw}, receive, send)


def chosen(headers: Headers) -> str:
    """The stored choice; empty without a valid one."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None and cookie.value in TAGS else ""


class PageResponse:
    """Sends the page with its language set before any other script runs, and with the cookie of the choice."""

    def __init__(self, send: Send, choice: str) -> None:
        self._send, self._choice, self._start, self._body = send, choice, dict[str, Any](), b""

    async def send(self, message: Message) -> None:
        """Collect the response and send it when it is complete."""
        if message["type"] == "http.response.start":
            self._start = dict(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        tag = TAGS[self._choice]
        script = f'<script>for (const [key, value] of [["language", "{tag}"], ["languages", ["{tag}"]]])\n'
        script += "Object.defineProperty(navigator, key, {get: () => value});</script>"
        body = self._body.replace(b"<head>", b"<head>" + script.encode(), 1)
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-length"] = str(len(body))
        headers.append("set-cookie", f"{COOKIE}={self._choice}; Path=/; Max-Age={YEAR}; SameSite=Strict; HttpOnly")
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
