"""Parameters of a query that a route does not take are refused by name: none is dropped silently."""

import re
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from demo.api.errors import ApiError
from demo.server.guard import ErrorResponse

METADATA: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
"""A parameter of OpenAPI's style deepObject, which FastAPI cannot declare."""
PAIR = re.compile(r"metadata\[([^\[\]]*)\]", re.DOTALL)
_SHOWN = 80  # characters of a name in a message


def known_query(request: Request) -> None:
    """Raise ApiError for a parameter that the route does not take, and for one that is given twice."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    taken = [field.alias for field in route.dependant.query_params]
    pairs = METADATA in (route.openapi_extra or {}).get("parameters", [])
    seen = set[str]()
    for name, _ in request.query_params.multi_items():
        if name not in taken and not (pairs and PAIR.fullmatch(name)):
            names = [*taken, *(["metadata[key]"] if pairs else [])]
            found = f"{name[:_SHOWN]!r} is no parameter of this address; it takes {', '.join(names) or 'none'}"
            raise ApiError(ErrorResponse(400, found, param=name[:_SHOWN]))
        if name in seen:
            raise ApiError(ErrorResponse(400, f"{name[:_SHOWN]!r} is given twice", param=name[:_SHOWN]))
        seen.add(name)


def metadata_of(request: Request) -> dict[str, str]:
    """The pairs of `metadata[key]=value` in a query."""
    pairs = ((PAIR.fullmatch(name), value) for name, value in request.query_params.multi_items())
    return {found[1]: value for found, value in pairs if found}
