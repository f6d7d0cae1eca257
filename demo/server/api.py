"""OpenAI's chat completions API."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from demo.server.chat_request import ChatRequest, messages_of, sampling_of
from demo.server.generation_queue import Busy, GenerationQueue
from demo.server.guard import ErrorResponse, Guard, visitor_of
from demo.server.limits import DEFAULT, Limits
from demo.visible_paths import hide_folders
from llm.chat.token_stream import StreamedAnswer
from llm.errors import DataError, EyegraftError

POLL_SECONDS = 0.5  # how often a waiting request checks whether its client has disconnected
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that has disconnected; nobody receives it
STOPPED = ErrorResponse(503, "the answer was stopped before its end. Ask again", "server_error", "stopped")


class ApiError(Exception):
    """An invalid request, with the response to send."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.message)
        self.response = response


@dataclass(frozen=True, slots=True)
class PendingCompletion:
    """A queued or running answer, and the name of the model that gives it."""

    name: str
    reply: StreamedAnswer
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that every chunk of the answer begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.name}


def build_api(queue: GenerationQueue, hosts: frozenset[str], token: str = "", limits: Limits = DEFAULT) -> FastAPI:
    """The application. `hosts` are the accepted Host names; with a token, every path but /healthz requires it."""
    app = FastAPI(title="Eyegraft", openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=hosts, token=token, limits=limits)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(DataError, _data_error)
    app.add_exception_handler(EyegraftError, _unavailable)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)
    created = int(time.time())
    # Threads of their own: opening models may block them for long, and answers are read in the default ones.
    threads = CapacityLimiter(limits.waiting + 1)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The available models."""
        listed = [
            {"id": name, "object": "model", "created": created, "owned_by": "eyegraft"} for name in queue.chat_models
        ]
        return {"object": "list", "data": listed}

    @app.post("/v1/chat/completions", response_model=None)
    async def completions(body: ChatRequest, request: Request) -> Response:
        """One answer, complete or as a stream of server-sent events."""
        completion = await run_sync(_start, body, queue, limits, visitor_of(request), limiter=threads)
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return StreamingResponse(_events(completion, request, usage), media_type="text/event-stream")
        text = "".join([piece async for piece in _pieces(completion.reply, request)])
        if not completion.reply.finish:
            gone = await request.is_disconnected()
            return Response(status_code=CLIENT_CLOSED_REQUEST) if gone else json_response(STOPPED)
        return JSONResponse(_complete(completion, text))

    return app


def _start(body: ChatRequest, queue: GenerationQueue, limits: Limits, visitor: str) -> PendingCompletion:
    """Validate a request and queue it. All errors are raised here, before the response begins."""
    queue.check_capacity(visitor)
    if body.model not in queue.chat_models:
        found = f"there is no model of that name; available: {', '.join(queue.chat_models)}"
        raise ApiError(ErrorResponse(404, found, code="model_not_found", param="model"))
    chat_model = queue.chat_models[body.model]
    messages = messages_of(body, limits)
    tokens = len(chat_model.encoder.prompt(messages)[0])
    if tokens >= chat_model.context:
        found = f"the conversation is {tokens:,} tokens long, the model reads {chat_model.context:,}"
        raise ApiError(ErrorResponse(400, found, code="context_length_exceeded", param="messages"))
    sampling = sampling_of(body, min(limits.new_tokens, chat_model.context - tokens))
    return PendingCompletion(body.model, queue.submit(chat_model, messages, sampling, visitor))


async def _pieces(reply: StreamedAnswer, request: Request) -> AsyncIterator[str]:
    """The pieces of a reply until it ends. It is stopped when the client disconnects, even while it waits."""
    try:
        while not await request.is_disconnected():
            piece = await run_sync(reply.piece, POLL_SECONDS)
            if piece is None:
                return
            if piece:
                yield piece
    finally:
        reply.stop()


async def _events(completion: PendingCompletion, request: Request, usage: bool) -> AsyncIterator[str]:
    """Server-sent events: the role, the pieces, the finish reason, usage if wanted, [DONE]."""
    head = completion.head("chat.completion.chunk") | ({"usage": None} if usage else {})
    yield event({**head, "choices": [_choice({"role": "assistant", "content": ""})]})
    try:
        async for piece in _pieces(completion.reply, request):
            yield event({**head, "choices": [_choice({"content": piece})]})
    except EyegraftError as error:
        yield event(ErrorResponse(400, hide_folders(str(error))).body())
        return
    if not completion.reply.finish:  # without [DONE] clients know that the answer is incomplete
        yield event(STOPPED.body())
        return
    yield event({**head, "choices": [_choice({}, completion.reply.finish)]})
    if usage:
        yield event({**head, "choices": [], "usage": _usage(completion.reply)})
    yield "data: [DONE]\n\n"


def _complete(completion: PendingCompletion, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.reply.finish}
    return {**completion.head("chat.completion"), "choices": [choice], "usage": _usage(completion.reply)}


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(reply: StreamedAnswer) -> dict[str, int]:
    """Token counts: the prompt with its image tokens, the answer with its end token."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def event(content: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def json_response(error: ErrorResponse) -> JSONResponse:
    """An error as an HTTP response."""
    return JSONResponse(error.body(), error.status)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return json_response(error.response)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return json_response(ErrorResponse(429, str(error), "rate_limit_error", "busy"))


async def _data_error(_: Request, error: Exception) -> JSONResponse:
    """Messages that break a rule, or images that are not accepted."""
    return json_response(ErrorResponse(400, hide_folders(str(error)), param="messages"))


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    """A model that cannot be opened, such as a run that has been deleted."""
    return json_response(ErrorResponse(503, hide_folders(str(error)), "server_error", param="model"))


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    """A body that is not JSON or does not match the schema: the first error with its place."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"] if step != "body")
    return json_response(ErrorResponse(400, f"{place or 'body'}: {first['msg']}", param=place or None))


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return json_response(ErrorResponse(error.status_code, str(error.detail)))


async def _internal_error(_: Request, error: Exception) -> JSONResponse:
    """The traceback is in the server's log; the client gets nothing of it."""
    return json_response(ErrorResponse(500, "the server failed on this request; see its log", "server_error"))
