"""Gradio's page in the frame of the other pages: their header above it."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.shell import PAGES, asset_url, header
from demo.job_pages.parts.words import FRAME, text
from llm.i18n.translate import Language

MACHINE = "/pages/machine"  # the address of the line of the header, which the page asks for again
SHEETS = ("tokens.css", "header.css")


class FramedResponse:
    """Sends gradio's page with a head and a header of ours."""

    def __init__(self, send: Send, head: str, top: str) -> None:
        self._send, self._head, self._top = send, head.encode(), top.encode()
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        """Collect the response and send it when it is complete."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._body.replace(b"</head>", self._head + b"</head>", 1)
        start = body.find(b"<body")
        end = body.find(b">", start) + 1
        if start >= 0 and end:
            body = body[:end] + self._top + body[end:]
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-length"] = str(len(body))
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def framed(send: Send, active: str, lang: Language, machine: Markup, pages: Mapping[str, str] = PAGES) -> Send:
    """Where gradio's page is sent to, so that it arrives with the header; `active` and `pages` as for `header`."""
    sheets = [tag("link", rel="stylesheet", href=asset_url(name)) for name in SHEETS]
    script = tag("script", src=asset_url("page.js"), defer=True)
    lost = tag("p", text(FRAME, "lost", lang), id="lost", role="status", hidden=True)
    top = header(active, lang, machine, pages, poll=MACHINE)
    return FramedResponse(send, joined([*sheets, script]), joined([top, lost])).send
