"""The gate in front of gradio: only the paths that the page uses, valid events, and uploaded files pass."""

import json
from collections.abc import Callable

import gradio as gr
from anyio.to_thread import run_sync
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from demo.pages.page_events import InvalidEvent, parse_event
from demo.pages.page_paths import EVENTS, FILE, GET_PATHS, GET_PREFIXES, POST_PATHS, STREAM
from demo.pages.stream_ends import StreamEnds
from demo.server.guard import UPLOAD, ErrorResponse, read_body, replay, send_error, too_large, visitor_of
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from demo.server.visitors import Visitors
from llm.errors import ImageError

API = frozenset({"/healthz", "/metrics", "/openapi.json"})
MAX_FILES = 16  # per request
MAX_QUERY = 300  # bytes; gradio stores the names of sessions and uploads, which have a dozen letters


class PageGate:
    """ASGI middleware between the guard and gradio. Requests to the API pass unchanged."""

    def __init__(
        self, app: ASGIApp, page: gr.Blocks, limits: Limits, visitors: Visitors, own: Callable[[str], bool]
    ) -> None:
        """`own`: whether a path beside those of the API is the application's own, which pass unchanged as well."""
        self.app, self.page, self.limits, self.visitors, self._own = app, page, limits, visitors, own
        self._ends = StreamEnds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_own(scope["path"]):
            await self.app(scope, receive, send)
            return
        error = self._check_path(scope["method"], scope["path"], scope["query_string"])
        session = ""
        if error is None and scope["method"] == "POST":
            receive, session, error = await self._check_body(scope, receive)
        if error is not None:
            await send_error(error, scope, send)
            return
        if scope["path"] == STREAM:
            await self._ends.stream(self.app, scope, receive, send)
            return
        await self.app(scope, receive, self._ends.after(session, send) if session else send)

    def _is_own(self, path: str) -> bool:
        return path in API or path.startswith("/v1/") or self._own(path)

    def _check_path(self, method: str, path: str, query: bytes) -> ErrorResponse | None:
        if len(query) > MAX_QUERY:
            return ErrorResponse(414, f"the query string is longer than {MAX_QUERY} bytes")
        if method == "POST":
            return None if path in POST_PATHS else ErrorResponse(404, "nothing accepts POST at this path")
        if method not in ("GET", "HEAD"):
            return ErrorResponse(405, "only GET and POST are supported")
        if path.startswith(FILE):
            return _check_file(path.removeprefix(FILE))
        if path in GET_PATHS or path.startswith(GET_PREFIXES):
            return None
        return ErrorResponse(404, "there is nothing at this path")

    async def _check_body(self, scope: Scope, receive: Receive) -> tuple[Receive, str, ErrorResponse | None]:
        """The request to pass on with the session of an event, or the error to send."""
        visitor, path = visitor_of(HTTPConnection(scope)), scope["path"]
        limit = self.limits.body if path == UPLOAD else self.limits.event
        body = await read_body(receive, limit)
        if body is None:
            return receive, "", too_large(limit)
        if path == UPLOAD:
            return replay(body, receive), "", await run_sync(self._check_upload, visitor, body)
        if path not in EVENTS:
            return replay(body, receive), "", None
        try:
            event = await run_sync(parse_event, body, self.page.fns, self.limits)
        except InvalidEvent as error:
            return receive, "", ErrorResponse(422, str(error))
        found = self.visitors.event(visitor, event.session_hash)
        # Content-Length is still that of the original body; gradio does not read it.
        passed_on = replay(json.dumps(event.model_dump()).encode(), receive)
        return passed_on, event.session_hash, ErrorResponse(429, found) if found else None

    def _check_upload(self, visitor: str, body: bytes) -> ErrorResponse | None:
        if body.lower().count(b"content-disposition:") > MAX_FILES:
            return ErrorResponse(413, f"more than {MAX_FILES} files at once")
        found = self.visitors.upload(visitor, len(body))
        return ErrorResponse(429, found) if found else None


def _check_file(path: str) -> ErrorResponse | None:
    """Accept a file only by its resolved path: gradio takes `http://.../../file`, which resolves to it, for a URL."""
    try:
        own = str(uploaded_file(path)) == path
    except ImageError:
        own = False
    return None if own else ErrorResponse(403, "not a file that was uploaded or created by this page")
