"""Light, dark, or as the system has it: the visitor's choice, which a cookie stores.

The choice is an attribute of <html> when the page arrives, so that no page is ever drawn in the other theme first.
"""

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.pages.language import YEAR, is_root

COOKIE = "eyegraft_theme"
THEMES = ("light", "dark", "system")  # the values of ?theme= and of the cookie
# gradio's frontend asks the browser which theme the system has; its answer is the choice.
SCRIPT = """<script>(theme => {
const real = window.matchMedia.bind(window);
window.matchMedia = query => /prefers-color-scheme/.test(query)
  ? { matches: query.includes(theme), media: query, addEventListener() {}, removeEventListener() {} } : real(query);
})("THEME")</script>"""


class ThemeChoice:
    """ASGI middleware: `?theme=dark` stores a choice, and every page of a visitor with one is in its theme."""

    def __init__(self, app: ASGIApp, pages: Callable[[str], bool] = is_root) -> None:
        """`pages`: whether a person opens this path."""
        self.app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not self._pages(scope["path"]):
            await self.app(scope, receive, send)
            return
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("theme", [""])[0]
        asked = asked if asked in THEMES else ""
        theme = asked or chosen_theme(Headers(scope=scope))
        if theme:
            send = ThemedPage(send, theme, bool(asked)).send
        await self.app(scope, receive, send)


def chosen_theme(headers: Headers) -> str:
    """The stored choice; empty without a valid one."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None and cookie.value in THEMES else ""


class ThemedPage:
    """Sends a page with its theme set before anything is drawn, and with the cookie of a new choice."""

    def __init__(self, send: Send, theme: str, is_new: bool) -> None:
        self._send, self._theme, self._is_new = send, theme, is_new
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        """Collect the response and send it when it is complete."""
        if message["type"] == "http.response.start":
            self._start = dict(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._body.replace(b"<html", f'<html data-theme="{self._theme}"'.encode(), 1)
        if self._theme != "system":
            body = body.replace(b"<head>", b"<head>" + SCRIPT.replace("THEME", self._theme).encode(), 1)
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-length"] = str(len(body))
        if self._is_new:
            headers.append("set-cookie", f"{COOKIE}={self._theme}; Path=/; Max-Age={YEAR}; SameSite=Strict")
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
