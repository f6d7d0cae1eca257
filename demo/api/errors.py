"""Every error of the API in OpenAI's format, in words for a client's author or a chat user."""

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from demo.open_models import NoRoomError
from demo.server.generation_queue import Busy
from demo.server.guard import ErrorResponse
from demo.server.refusals import LimitLog
from demo.server.visitor_errors import RequestError
from demo.visible_paths import hide_folders
from llm.chat.chat_errors import chat_text
from llm.errors import DataError, EyegraftError
from llm.log import logger

NO_JSON = "the body is not a JSON object"
# pydantic's kinds of errors in the words of JSON.
WORDS = {
    "missing": "is missing",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "dict_type": "is not an object",
    "list_type": "is not a list",
    "string_type": "is not a text",
    "upload_file": "is not a file: send the part with a file name",
}
NO_UPLOAD = "Expected UploadFile"  # in the message of fastapi's error
ADDRESSES = ("/v1/models", "/v1/chat/completions", "/v1/completions")
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that has disconnected; no one receives it
NO_ROOM_S = "10"  # until a model in use may be idle
LONGEST_PATH = 100  # characters of a path or header in a message
SEND_FORM = "Send multipart/form-data as HTTP libraries write it"
SEND_JSON = "Send one, with the header Content-Type: application/json"


class ApiError(Exception):
    """An invalid request, with the response to send."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.message)
        self.response = response


def answer_errors(app: FastAPI, refusals: LimitLog) -> None:
    """Make the application answer every exception in OpenAI's format, and count the refusals."""
    app.state.refusals = refusals
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(DataError, _data_error)
    app.add_exception_handler(EyegraftError, _unavailable)
    app.add_exception_handler(NoRoomError, _no_room)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)


def json_response(error: ErrorResponse) -> Response:
    """An error as an HTTP response."""
    body = json.dumps(error.body())  # in ASCII: what is named in a message may be no valid Unicode
    return Response(body, error.status, media_type="application/json")


def error_of_data(error: EyegraftError) -> ErrorResponse:
    """The error for messages that break a rule, or images that are not accepted."""
    param = error.param if isinstance(error, RequestError) else "messages"
    return ErrorResponse(400, hide_folders(chat_text(error)), param=param)


def refusals_of(request: Request) -> LimitLog:
    """What counts the refusals of the application that a request was sent to."""
    found = request.app.state.refusals
    assert isinstance(found, LimitLog)
    return found


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    if error.response.status < CLIENT_CLOSED_REQUEST:
        refusals_of(request).refused(error.response.reason)
    return json_response(error.response)


async def _busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, Busy)
    refusals_of(request).refused_by(error)
    response = json_response(ErrorResponse(429, str(error), "rate_limit_error", "busy"))
    response.headers["retry-after"] = str(error.seconds)
    return response


async def _data_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DataError)
    refusals_of(request).refused_by(error)
    return json_response(error_of_data(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    """A model that cannot be opened, such as a run that has been deleted."""
    assert isinstance(error, EyegraftError)
    refusals_of(request).refused_by(error, "unavailable")
    return json_response(ErrorResponse(503, hide_folders(str(error)), "server_error", param="model"))


async def _no_room(request: Request, error: Exception) -> Response:
    """A model that memory has no room for: now, or at all, which no client should ask again."""
    assert isinstance(error, NoRoomError)
    refusals_of(request).refused("memory")
    logger.warning(str(error))
    response = json_response(
        ErrorResponse(503 if error.for_now else 507, str(error), "server_error", "insufficient_memory", "model")
    )
    response.headers.update({"retry-after": NO_ROOM_S} if error.for_now else {"x-should-retry": "false"})
    return response


async def _validation_error(request: Request, error: Exception) -> Response:
    """A body that is not JSON or does not match the schema: the first error with its place."""
    assert isinstance(error, RequestValidationError)
    refusals_of(request).refused("request")
    first = error.errors()[0]
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if first["loc"] == ("body",) and kind.rpartition("/")[2].rpartition("+")[2] != "json" and error.body:
        sent = f"as {kind[:LONGEST_PATH]}" if kind else "without a Content-Type"
        return json_response(ErrorResponse(415, f"the body was sent {sent}. {SEND_JSON}"))
    return json_response(_error_of_field(first))


def _error_of_field(first: dict[str, Any]) -> ErrorResponse:
    """The response for an error of pydantic; those of `request_keys` have their own text, key and code."""
    steps, kind = [step for step in first["loc"] if step != "body"], first["type"]
    if kind == "json_invalid":
        return ErrorResponse(400, f"{NO_JSON}: {first['ctx']['error']} at character {steps[0]}. {SEND_JSON}")
    own = first["ctx"] if kind == "not_offered" else {"text": WORDS.get(kind, first["msg"]), "param": "", "code": None}
    if NO_UPLOAD in own["text"]:
        own = {**own, "text": WORDS["upload_file"]}
    place = ".".join(map(str, [*steps, own["param"]] if own["param"] else steps))
    if not place:
        return ErrorResponse(400, f"{NO_JSON}. {SEND_JSON}")
    return ErrorResponse(400, f"{place}: {own['text']}", code=own["code"], param=place)


async def _http_error(request: Request, error: Exception) -> Response:
    """An address or method that is not offered. OPTIONS is answered with the methods that are."""
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers={"allow": f"{allowed}, OPTIONS"})
    refusals_of(request).refused("request")
    response = json_response(_not_offered(request, error, allowed))
    if allowed:
        response.headers["allow"] = f"{allowed}, OPTIONS"
    return response


def _not_offered(request: Request, error: HTTPException, allowed: str) -> ErrorResponse:
    path = request.url.path[:LONGEST_PATH]
    if error.status_code == 404:
        base = f"{request.base_url}v1"
        found = (
            f"there is nothing at {request.method} {path}. The API is at {', '.join(ADDRESSES)}. In a chat program "
            f"choose an OpenAI-compatible service (chat completions), with the base URL {base}"
        )
        return ErrorResponse(404, found, code="unknown_url")
    if error.status_code == 405:
        return ErrorResponse(405, f"{path} does not take {request.method}. Send {allowed}")
    if isinstance(error.__cause__, OSError):  # the body of an upload goes to the disk while it is parsed
        return ErrorResponse(503, f"the server's disk refuses the upload: {error.__cause__.strerror}", "server_error")
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        return ErrorResponse(
            error.status_code, f"the form cannot be read: {str(error.detail).rstrip('.')}. {SEND_FORM}"
        )
    if error.status_code == 400:  # fastapi's, for bytes that are not UTF-8 and numbers of thousands of digits
        return ErrorResponse(400, f"{NO_JSON} in UTF-8 that can be read. {SEND_JSON}")
    return ErrorResponse(error.status_code, str(error.detail))


async def _internal_error(request: Request, error: Exception) -> Response:
    """The traceback is in the server's log; the client gets nothing of it."""
    refusals_of(request).refused("failed")
    return json_response(ErrorResponse(500, "the server failed on this request; see its log", "server_error"))
