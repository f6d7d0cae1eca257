"""Addresses as clients put them together: a slash too many is left out, since many follow no redirect of a POST."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

# Not the addresses of single models, whose names may have slashes.
_OURS = re.compile(r"/+(v1/+models|v1/+chat/+completions|v1/+completions|healthz|metrics)/*")
_SLASHES = re.compile("/+")


class PlainAddresses:
    """ASGI middleware: the API's addresses are read without double slashes and without one at their end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _OURS.fullmatch(scope["path"]):
            scope["path"] = _SLASHES.sub("/", scope["path"]).rstrip("/")
        await self.app(scope, receive, send)
