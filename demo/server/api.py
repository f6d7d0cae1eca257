"""OpenAI's chat interface over our own models."""

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
from llm.chat.token_stream import StreamedAnswer
from llm.errors import DataError, EyegraftError

GLANCE = 0.5  # seconds between two looks at whether a client that waits has left
LEFT = 499  # nginx's number for "the client closed the request"; nobody reads it


STOPPED = ErrorResponse(503, "the answer was stopped before its end: ask again", "server_error", "stopped")


class Refused(Exception):
    """Raised where a request turns out to be wrong; becomes its answer."""

    def __init__(self, refusal: ErrorResponse) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Job:
    """A request understood: who answers, and the answer, which waits for its turn or grows."""

    name: str
    reply: StreamedAnswer
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self, kind: str) -> dict[str, Any]:
        """What every part of the answer begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.name}


def build_api(queue: GenerationQueue, hosts: frozenset[str], token: str = "", limits: Limits = DEFAULT) -> FastAPI:
    """The application. `hosts` are the names it answers to; with a token, all but /healthz needs it."""
    app = FastAPI(title="Eyegraft", openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=hosts, token=token, limits=limits)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(DataError, _wrong)
    app.add_exception_handler(EyegraftError, _not_opened)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _not_there)
    app.add_exception_handler(Exception, _our_fault)
    began = int(time.time())
    # Opening a model takes a thread for long: those that read answers are not to run out of them.
    beginning = CapacityLimiter(limits.waiting + 1)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Somebody is there."""
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The models that answer here."""
        rows = [{"id": name, "object": "model", "created": began, "owned_by": "eyegraft"} for name in queue.chat_models]
        return {"object": "list", "data": rows}

    @app.post("/v1/chat/completions", response_model=None)
    async def completions(asked: ChatRequest, request: Request) -> Response:
        """One answer, whole or as a stream of server-sent events."""
        job = await run_sync(_begin, asked, queue, limits, visitor_of(request), limiter=beginning)
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            return StreamingResponse(_events(job, request, usage), media_type="text/event-stream")
        text = "".join([piece async for piece in _pieces(job.reply, request)])
        if not job.reply.finish:
            gone = await request.is_disconnected()
            return Response(status_code=LEFT) if gone else answer(STOPPED)
        return JSONResponse(_whole(job, text))

    return app


def _begin(asked: ChatRequest, queue: GenerationQueue, limits: Limits, visitor: str) -> Job:
    """Everything that can be refused is refused here; then the answer has its place in the queue."""
    queue.check_capacity(visitor)
    if asked.model not in queue.chat_models:
        known = ", ".join(queue.chat_models)
        raise Refused(
            ErrorResponse(404, f"no model is called that; here are: {known}", code="model_not_found", param="model")
        )
    chat_model = queue.chat_models[asked.model]
    messages = messages_of(asked, limits)
    tokens = len(chat_model.encoder.prompt(messages)[0])
    if tokens >= chat_model.context:
        found = f"the conversation is {tokens:,} tokens long, the model reads {chat_model.context:,}"
        raise Refused(ErrorResponse(400, found, code="context_length_exceeded", param="messages"))
    sampling = sampling_of(asked, min(limits.new_tokens, chat_model.context - tokens))
    return Job(asked.model, queue.submit(chat_model, messages, sampling, visitor))


async def _pieces(reply: StreamedAnswer, request: Request) -> AsyncIterator[str]:
    """The reply's text until it ends or the client has left, which stops it also while it waits for its turn."""
    try:
        while not await request.is_disconnected():
            piece = await run_sync(reply.piece, GLANCE)
            if piece is None:
                return
            if piece:
                yield piece
    finally:
        reply.stop()


async def _events(job: Job, request: Request, usage: bool) -> AsyncIterator[str]:
    """Server-sent events: the role, the pieces, why it ended, what it cost, [DONE]."""
    head = job.head("chat.completion.chunk") | ({"usage": None} if usage else {})
    yield event({**head, "choices": [_choice({"role": "assistant", "content": ""})]})
    try:
        async for piece in _pieces(job.reply, request):
            yield event({**head, "choices": [_choice({"content": piece})]})
    except EyegraftError as error:
        yield event(ErrorResponse(400, str(error)).body())
        return
    if not job.reply.finish:  # clients take an answer without [DONE] for what it is
        yield event(STOPPED.body())
        return
    yield event({**head, "choices": [_choice({}, job.reply.finish)]})
    if usage:
        yield event({**head, "choices": [], "usage": _usage(job.reply)})
    yield "data: [DONE]\n\n"


def _whole(job: Job, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": job.reply.finish}
    return {**job.head("chat.completion"), "choices": [choice], "usage": _usage(job.reply)}


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(reply: StreamedAnswer) -> dict[str, int]:
    """Tokens read, image rows among them, and tokens written, the end mark among them."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def event(content: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def full(error: Busy) -> ErrorResponse:
    """The answer when the queue is full."""
    return ErrorResponse(429, str(error), "rate_limit_error", "busy")


def answer(refusal: ErrorResponse) -> JSONResponse:
    """A refusal as a response."""
    return JSONResponse(refusal.body(), refusal.status)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return answer(error.refusal)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Busy)
    return answer(full(error))


async def _wrong(_: Request, error: Exception) -> JSONResponse:
    """Messages that break a law, or pictures that are refused."""
    assert isinstance(error, DataError)
    return answer(ErrorResponse(400, str(error), param="messages"))


async def _not_opened(_: Request, error: Exception) -> JSONResponse:
    """A model that cannot be opened, such as a run that was deleted meanwhile."""
    assert isinstance(error, EyegraftError)
    return answer(ErrorResponse(503, str(error), "server_error", param="model"))


async def _not_understood(_: Request, error: Exception) -> JSONResponse:
    """A body that is no JSON or has a key or value that is not offered: the first fault, by its place."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    place = ".".join(str(step) for step in fault["loc"] if step != "body")
    return answer(ErrorResponse(400, f"{place or 'body'}: {fault['msg']}", param=place or None))


async def _not_there(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(ErrorResponse(error.status_code, str(error.detail)))


async def _our_fault(_: Request, error: Exception) -> JSONResponse:
    """The server's log has the trace; the client learns nothing of it."""
    return answer(ErrorResponse(500, "the server failed on this request; its log says why", "server_error"))
