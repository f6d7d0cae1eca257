"""The OpenAPI document of the API: what FastAPI derives from the routes, with the errors as they are really sent."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

JsonObject = dict[str, Any]
Handler = Callable[..., object]
REASONS = {
    400: "the request cannot be used: `param` names the part, `message` says what to change",
    401: "wrong or missing token",
    403: "a Host or Origin that is not the server's",
    404: "there is nothing of that name",
    408: "the request did not arrive in time",
    409: "the state of the object does not allow it",
    413: "the request is larger than the server reads, or than the space that is left",
    415: "a body of another type, or a compressed one",
    429: "as many requests wait as may; `Retry-After` says for how long",
    507: "the model does not fit into the memory of the server",
    503: "the disk, the database or the model cannot be used now",
}
ALWAYS = (400, 401, 403, 408, 413, 415)  # the guard's answers and those to parameters: possible on every route
OPEN = "/healthz"  # answered without a token
TYPES: dict[str, JsonObject] = {
    "application/json": {"type": "object"},
    "application/octet-stream": {"type": "string", "format": "binary"},
    "application/x-tar": {"type": "string", "format": "binary"},
    "text/plain": {"type": "string"},
    "text/event-stream": {
        "type": "object",
        "description": "one server-sent event",
        "required": ["data"],
        "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    },
}
ERROR: JsonObject = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        },
        "detail": {"type": "string"},
    },
}


class DescribedApi(FastAPI):
    """An application whose document names every error in OpenAI's format, and the token."""

    def openapi(self) -> JsonObject:
        """The document."""
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi())
        return self.openapi_schema


def errors(*statuses: int) -> dict[int | str, JsonObject]:
    """The responses of a route that answers with these errors, besides those of every route."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": REASONS[status], "content": content} for status in statuses}


def readable(
    app: FastAPI, path: str, *statuses: int, responses: dict[int | str, JsonObject] | None = None
) -> Callable[[Handler], Handler]:
    """Answer GET with the decorated function, and HEAD with its headers alone."""

    def add(handler: Handler) -> Handler:
        app.get(path, responses={**(responses or {}), **errors(*statuses)})(handler)
        app.head(path, include_in_schema=False)(handler)
        return handler

    return add


def types(*names: str) -> dict[int | str, JsonObject]:
    """The content types of a route's answers that FastAPI cannot derive from its code."""
    return {200: {"content": {name: {"schema": TYPES[name]} for name in names}}}


def _completed(document: JsonObject) -> JsonObject:
    parts = document.setdefault("components", {})
    schemas = {name: found for name, found in parts.get("schemas", {}).items() if "ValidationError" not in name}
    parts["schemas"] = {**schemas, "Error": ERROR}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(operation, path == OPEN)
    return document


def _complete(operation: JsonObject, is_open: bool) -> None:
    """FastAPI's 422 is never sent: what does not match the schema is answered with 400."""
    found = operation["responses"]
    found.pop("422", None)
    for status, response in errors(*ALWAYS).items():
        if not (is_open and status == 401):
            found.setdefault(str(status), response)
    operation["security"] = [] if is_open else [{"token": []}]
