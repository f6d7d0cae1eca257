"""The parts of a page that a browser asks for again."""

import hashlib
from collections.abc import Mapping

from fastapi.responses import JSONResponse, Response


def refreshed(parts: Mapping[str, str], stamp: str) -> Response:
    """The parts and a stamp of their content; nothing where the browser's stamp is the same."""
    digest = hashlib.sha256("\0".join(parts.values()).encode()).hexdigest()[:16]
    return Response(status_code=204) if digest == stamp else JSONResponse({"stamp": digest, "parts": dict(parts)})
