"""GET /metrics: what the server counts, as Prometheus reads it."""

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.api.openapi_document import readable, types
from demo.server.prometheus import CONTENT_TYPE
from demo.server.serving_metrics import ServingMetrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # an address or method that the server does not have: clients choose these names
EVENTS = "text/event-stream"
LEFT, FAILED = "499", "500"  # statuses of requests without a response: the client left, the server failed


class CountedRequests:
    """ASGI middleware that counts requests by the pattern of their address and their status, and open event streams."""

    def __init__(self, app: ASGIApp, metrics: ServingMetrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, streams = "", False

        async def sending(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = str(message["status"])
                streams = Headers(raw=message["headers"]).get("content-type", "").startswith(EVENTS)
                if streams:
                    self._metrics.streams.add(_route(scope))
            await send(message)

        failed = True
        try:
            await self.app(scope, receive, sending)
            failed = False
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            if streams:
                self._metrics.streams.add(_route(scope), by=-1)
            self._metrics.requests.add(method, _route(scope), status or (FAILED if failed else LEFT))


def _route(scope: Scope) -> str:
    """The pattern of the address, in which names and ids are placeholders."""
    return str(scope["route"].path) if "route" in scope else OTHER


def add_metrics(app: FastAPI, metrics: ServingMetrics) -> None:
    """The route."""

    @readable(app, "/metrics", responses=types("text/plain"))
    def exposition() -> Response:
        """The server's metrics in Prometheus' text format 0.0.4; in a thread, since some are read from a database."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)
