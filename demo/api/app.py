"""OpenAI's API over the models of a queue."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from demo.api.addresses import PlainAddresses
from demo.api.chat_request import ChatRequest, messages_of, sampling_of, wanted_of
from demo.api.completion import ChatForm, Completion, Responder
from demo.api.errors import CLIENT_CLOSED_REQUEST, ApiError, answer_errors
from demo.api.logprobs import Scoring
from demo.api.metrics import CountedRequests, add_metrics
from demo.api.openapi_document import DescribedApi, errors, readable, types
from demo.api.text_completion import CompletionRequest, form_of, prompt_ids
from demo.api.waiting_client import WaitingClient
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import NO_STREAMS, ErrorResponse, Guard, Streams, visitor_of
from demo.server.input_checks import shown_frames
from demo.server.limits import DEFAULT, Limits
from demo.server.serving_metrics import ServingMetrics
from demo.server.turns import for_template
from demo.server.visitor_errors import RequestError
from llm.chat.token_stream import StreamedAnswer
from llm.chat.turn import Turn, do_nothing

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel

NO_EFFECT = "eyegraft-no-effect"  # header that names the keys of a request that change nothing
MOST_NAMES = 20  # of models in a message
COMPLETION = {**types("application/json", "text/event-stream"), **errors(404, 429, 503, 507)}
Start = Callable[[str, WaitingClient], Completion]  # of a visitor's request


def build_api(
    queue: GenerationQueue,
    hosts: frozenset[str],
    token: str = "",
    limits: Limits = DEFAULT,
    origins: frozenset[str] = frozenset(),
    streams: Streams = NO_STREAMS,
) -> FastAPI:
    """The application. `hosts` are the accepted Host names; with a token, every path but /healthz requires it.

    `origins` are the addresses of other sites whose pages may use it; `streams`: paths of uploads, with what
    finds out how much room there is.
    """
    metrics = queue.metrics
    app = _new_app(metrics)
    count = metrics.limits.refused
    app.add_middleware(Guard, hosts=hosts, token=token, limits=limits, origins=origins, streams=streams, refused=count)
    app.add_middleware(CountedRequests, metrics=metrics)  # outermost: it counts what the guard rejects, too
    _add_models(app, queue)
    add_metrics(app, metrics)
    # Threads of their own: opening models may block them for long.
    threads, responder = CapacityLimiter(limits.requests), Responder(CapacityLimiter(limits.requests), metrics)

    async def answer(start: Start, body: ChatRequest | CompletionRequest, request: Request) -> Response:
        """Queue the request and send its answer, complete or as a stream of server-sent events."""
        visitor, client = visitor_of(request), WaitingClient(request)
        queue.check_capacity(visitor)
        completion = await run_sync(start, visitor, client, limiter=threads)
        client.on_leave(lambda: queue.leave(completion.reply))
        headers = {NO_EFFECT: ", ".join(names)} if (names := body.without_effect()) else {}
        if body.stream:
            return responder.stream(completion, client, body.includes_usage, headers)
        return await responder.complete(completion, client, headers)

    @app.post("/v1/chat/completions", response_model=None, responses=COMPLETION)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """The answer to a conversation."""
        return await answer(partial(_start_chat, body, queue, limits), body, request)

    @app.post("/v1/completions", response_model=None, responses=COMPLETION)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """What follows a text."""
        return await answer(partial(_start_text, body, queue, limits), body, request)

    return app


def _new_app(metrics: ServingMetrics) -> FastAPI:
    """An application without addresses yet, whose errors are those of OpenAI's API."""
    app = DescribedApi(
        title="Eyegraft", openapi_url="/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_middleware(PlainAddresses)
    answer_errors(app, metrics.limits)
    return app


def _add_models(app: FastAPI, queue: GenerationQueue) -> None:
    """The routes that tell whether the server is up, and which models it has."""
    created = int(time.time())

    def model_of(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": created, "owned_by": "eyegraft"}

    @readable(app, "/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server is up."""
        return {"status": "ok"}

    @readable(app, "/v1/models")
    def models() -> JSONResponse:
        """The available models; in a thread, since they may be in a database."""
        return JSONResponse({"object": "list", "data": [model_of(name) for name in queue.chat_models]})

    @readable(app, "/v1/models/{name:path}", 404)
    def model(name: str) -> dict[str, Any]:
        """One model."""
        if name not in queue.chat_models:
            raise _unknown_model(queue)
        return model_of(name)


def _start_chat(
    body: ChatRequest, queue: GenerationQueue, limits: Limits, visitor: str, client: WaitingClient
) -> Completion:
    """Validate a request and queue it. All errors are raised here, before the response begins."""
    chat_model = _open(body.model, queue, client)
    messages = messages_of(body, limits)
    if chat_model.cannot_see(messages):
        found, kind = ("takes no videos", "videos") if chat_model.sees_images else ("reads text only", "images")
        raise RequestError(body.model, found, f"Choose a model that sees {kind}, or leave them out")
    messages = for_template(shown_frames(chat_model, messages), chat_model.encoder.prompt)
    ids, images = chat_model.encoder.prompt(messages)
    room = _room(len(ids), chat_model, limits, "messages")
    _note_cut(wanted_of(body), room, limits, queue)
    sampling = sampling_of(body, room)
    if not body.logprobs:
        return Completion(body.model, queue.submit(chat_model, messages, sampling, visitor), ChatForm())
    scoring = Scoring(chat_model, body.top_logprobs or 0, len(ids), images, chat_model.encoder.stop_ids)
    stream = partial(chat_model.stream, messages, sampling, then=scoring.score)
    return Completion(body.model, queue.start(visitor, stream, chat_model), ChatForm(scoring))


def _start_text(
    body: CompletionRequest, queue: GenerationQueue, limits: Limits, visitor: str, client: WaitingClient
) -> Completion:
    """The same for a text to continue."""
    chat_model = _open(body.model, queue, client)
    ids = prompt_ids(body, chat_model, limits)
    form = form_of(body, chat_model, ids)
    room = _room(len(ids), chat_model, limits, "prompt")
    _note_cut(body.wanted, room, limits, queue)
    sampling = body.sampling(body.wanted or 1, room)
    sampling = sampling if body.wanted else replace(sampling, max_new_tokens=0)
    then = do_nothing if form.scoring is None else form.scoring.score

    def stream(turn: Turn, patience: float, reader: str) -> StreamedAnswer:
        return chat_model.stream_after(ids, (), sampling, turn, patience, reader, then)

    return Completion(body.model, queue.start(visitor, stream, chat_model), form)


def _room(tokens: int, chat_model: "ChatModel", limits: Limits, param: str) -> int:
    """The most tokens of an answer to a prompt of `tokens`. Raises ApiError when there is no room for one."""
    if tokens >= chat_model.context:
        found = f"the conversation is {tokens:,} tokens long, the model reads {chat_model.context:,}"
        raise ApiError(ErrorResponse(400, found, code="context_length_exceeded", param=param))
    return min(limits.new_tokens, chat_model.context - tokens)


def _note_cut(wanted: int | None, room: int, limits: Limits, queue: GenerationQueue) -> None:
    """Log where an answer may be shorter than its client wants because of the server's limit, not of the context."""
    if (wanted or 0) > limits.new_tokens == room:
        queue.metrics.limits.reached("new_tokens", limits.new_tokens)


def _open(name: str, queue: GenerationQueue, client: WaitingClient) -> "ChatModel":
    """The model of that name, loaded if it is not; the client may leave meanwhile."""
    if name not in queue.chat_models:
        raise _unknown_model(queue)
    chat_model = queue.chat_models[name]
    if client.has_left():
        raise ApiError(ErrorResponse(CLIENT_CLOSED_REQUEST, "the client has left"))
    return chat_model


def _unknown_model(queue: GenerationQueue) -> ApiError:
    names, more = [*islice(queue.chat_models, MOST_NAMES)], len(queue.chat_models) - MOST_NAMES
    beyond = f" and {more} more: see /v1/models" if more > 0 else ""
    found = f"there is no model of that name; available: {', '.join(names)}{beyond}"
    return ApiError(ErrorResponse(404, found, code="model_not_found", param="model"))
