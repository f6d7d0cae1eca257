"""What reaches the page: the addresses that it uses itself, events of its own shape, and files that were uploaded."""

import json

import gradio as gr
from anyio.to_thread import run_sync
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.pages.page_events import InvalidEvent, parse_event
from demo.server.guard import UPLOAD, ErrorResponse, read_body, replay, send_error, visitor_of
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from demo.server.visitors import Visitors
from llm.errors import ImageError

API = frozenset({"/healthz", "/openapi.json"})
FILE = "/gradio_api/file="
EVENTS = frozenset({"/gradio_api/queue/join", "/gradio_api/run/predict"})
POSTED = EVENTS | {UPLOAD, "/gradio_api/cancel", "/gradio_api/reset"}
# gradio serves some sixty more: it fetches addresses, shows other folders' files and runs functions by name there.
FETCHED = frozenset(
    {
        "/",
        "/config",
        "/theme.css",
        "/gradio_api/theme.css",
        "/favicon.ico",
        "/robots.txt",
        "/gradio_api/app_id",
        "/gradio_api/queue/data",
        "/gradio_api/upload_progress",
    }
)
FETCHED_BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
FILES = 16  # a request
QUERY = 300  # bytes; names of sessions and uploads, which gradio remembers, are a dozen letters


class PageGate:
    """ASGI middleware between the guard and gradio. The API's own addresses pass."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, limits: Limits, visitors: Visitors) -> None:
        self.app, self.page, self.limits, self.visitors = app, page, limits, visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in API or scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        refusal = self._judge_address(scope["method"], scope["path"], scope["query_string"])
        if refusal is None and scope["method"] == "POST":
            receive, refusal = await self._judge_body(scope, receive)
        if refusal is not None:
            await send_error(refusal, scope, send)
            return
        await self.app(scope, receive, send)

    def _judge_address(self, method: str, path: str, query: bytes) -> ErrorResponse | None:
        if len(query) > QUERY:
            return ErrorResponse(414, f"the query string is longer than {QUERY} bytes")
        if method == "POST":
            return None if path in POSTED else ErrorResponse(404, "there is nothing to post to at this address")
        if method not in ("GET", "HEAD"):
            return ErrorResponse(405, "GET and POST are understood")
        if path.startswith(FILE):
            return _judge_file(path.removeprefix(FILE))
        return None if path in FETCHED or path.startswith(FETCHED_BELOW) else ErrorResponse(404, "nothing is here")

    async def _judge_body(self, scope: Scope, receive: Receive) -> tuple[Receive, ErrorResponse | None]:
        """The request as it is passed on, and why it is not."""
        visitor, path = visitor_of(HTTPConnection(scope)), scope["path"]
        limit = self.limits.body if path == UPLOAD else self.limits.event
        body = await read_body(receive, limit)
        if body is None:
            return receive, ErrorResponse(413, f"the request is larger than {limit:,} bytes")
        if path == UPLOAD:
            return replay(body, receive), await run_sync(self._judge_upload, visitor, body)
        if path not in EVENTS:
            return replay(body, receive), None
        try:
            event = await run_sync(parse_event, body, self.page.fns)
        except InvalidEvent as error:
            return receive, ErrorResponse(422, str(error))
        found = self.visitors.event(visitor, event.session_hash)
        # The headers still tell the length that was sent: gradio reads what comes.
        return replay(json.dumps(event.model_dump()).encode(), receive), ErrorResponse(429, found) if found else None

    def _judge_upload(self, visitor: str, body: bytes) -> ErrorResponse | None:
        if body.lower().count(b"content-disposition:") > FILES:
            return ErrorResponse(413, f"more than {FILES} files at once")
        found = self.visitors.upload(visitor, len(body))
        return ErrorResponse(429, found) if found else None


def _judge_file(path: str) -> ErrorResponse | None:
    """Only a file's own name will do: gradio takes another that leads there, `http://.../../file`, for an address."""
    try:
        own = str(uploaded_file(path)) == path
    except ImageError:
        own = False
    return None if own else ErrorResponse(403, "no file that was uploaded or made here")
