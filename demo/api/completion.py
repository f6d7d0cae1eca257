"""An answer as OpenAI's API sends it: one JSON object, or a stream of server-sent events."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi.responses import JSONResponse, Response, StreamingResponse

from demo.api.errors import CLIENT_CLOSED_REQUEST, error_of_data, json_response
from demo.api.logprobs import Scoring
from demo.api.waiting_client import WaitingClient
from demo.server.guard import ErrorResponse
from demo.server.serving_metrics import ServingMetrics
from llm.chat.token_stream import StreamedAnswer
from llm.errors import EyegraftError

POLL_SECONDS = 0.5  # how often a reading thread looks whether its request was cancelled
STOPPED = ErrorResponse(503, "the answer was stopped before its end. Ask again", "server_error", "stopped")
Choice = dict[str, Any]


class AnswerForm(Protocol):
    """How the choices of one endpoint look."""

    id_prefix: str
    object: str
    chunk: str  # `object` of a stream's events

    @property
    def needs_end(self) -> bool:
        """Whether the answer's thread works on after its last token."""

    def begin(self) -> list[Choice]:
        """The choices of the events before the answer."""

    def piece(self, text: str) -> Choice:
        """The choice of an event with a piece of the answer."""

    def end(self, finish: str) -> Choice:
        """The choice of the last event."""

    def scores(self) -> list[Choice]:
        """The choices of the events with the scores of a streamed answer, before the last event."""

    def complete(self, text: str, finish: str) -> Choice:
        """The choice of a complete answer."""


@dataclass(frozen=True, slots=True)
class ChatForm:
    """The choices of /v1/chat/completions; with `scoring` they are scored when the answer has been generated."""

    scoring: Scoring | None = None

    id_prefix, object, chunk = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    @property
    def needs_end(self) -> bool:
        """Whether it is scored after its last token."""
        return self.scoring is not None

    def begin(self) -> list[Choice]:
        """The role."""
        return [_delta({"role": "assistant", "content": ""})]

    def piece(self, text: str) -> Choice:
        """A delta."""
        return _delta({"content": text})

    def end(self, finish: str) -> Choice:
        """An empty delta with the finish reason."""
        return _delta({}, finish)

    def scores(self) -> list[Choice]:
        """An empty delta with the scores of all tokens."""
        return [_delta({}) | {"logprobs": self.scoring.of_chat()}] if self.scoring else []

    def complete(self, text: str, finish: str) -> Choice:
        """A message, and what it was scored with."""
        message = {"role": "assistant", "content": text, "refusal": None}
        scores = self.scoring.of_chat() if self.scoring else None
        return {"index": 0, "message": message, "logprobs": scores, "finish_reason": finish}


@dataclass(frozen=True, slots=True)
class Completion:
    """A queued or running answer, the name of the model that gives it, and the form to send it in."""

    name: str
    reply: StreamedAnswer
    form: AnswerForm
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that every object of the answer begins with."""
        return {"id": f"{self.form.id_prefix}{self.id}", "object": kind, "created": self.created, "model": self.name}


@dataclass(frozen=True, slots=True)
class Responder:
    """Sends answers; `readers` bounds the threads that wait for their pieces, `metrics` counts their tokens."""

    readers: CapacityLimiter
    metrics: ServingMetrics

    async def complete(
        self, completion: Completion, client: WaitingClient, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The complete answer."""
        text = "".join([piece async for piece in self._pieces(completion.reply, client)])
        finish = completion.reply.finish
        if completion.form.needs_end:
            await run_sync(completion.reply.close, limiter=self.readers)
        if not finish:
            return Response(status_code=CLIENT_CLOSED_REQUEST) if client.has_left() else json_response(STOPPED)
        content = {
            **completion.head(completion.form.object),
            "choices": [completion.form.complete(text, finish)],
            "usage": _usage(completion.reply),
        }
        return JSONResponse(content, headers=headers)

    def stream(
        self, completion: Completion, client: WaitingClient, usage: bool, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer as server-sent events, with the token counts at the end if `usage`."""
        events = self._events(completion, client, usage)
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _pieces(self, reply: StreamedAnswer, client: WaitingClient) -> AsyncIterator[str]:
        """The pieces of a reply until it ends or its client has left."""
        meter = self.metrics.follow(reply)
        try:
            while not client.has_left():
                piece = await run_sync(reply.piece, POLL_SECONDS, limiter=self.readers)
                meter.update()
                if piece is None:
                    return
                if piece:
                    yield piece
        finally:
            meter.update()
            reply.stop()

    async def _events(self, completion: Completion, client: WaitingClient, usage: bool) -> AsyncIterator[str]:
        """The beginning, the pieces, the finish reason, usage if wanted, [DONE]."""
        form, reply = completion.form, completion.reply
        head = completion.head(form.chunk) | ({"usage": None} if usage else {})
        for choice in form.begin():
            yield event({**head, "choices": [choice]})
        try:
            async for piece in self._pieces(reply, client):
                yield event({**head, "choices": [form.piece(piece)]})
        except EyegraftError as error:
            yield event(error_of_data(error).body())
            return
        if not reply.finish:  # without [DONE] clients know that the answer is incomplete
            yield event(STOPPED.body())
            return
        if form.needs_end:
            await run_sync(reply.close, limiter=self.readers)
        for choice in form.scores():
            yield event({**head, "choices": [choice]})
        yield event({**head, "choices": [form.end(reply.finish)]})
        if usage:
            yield event({**head, "choices": [], "usage": _usage(reply)})
        yield "data: [DONE]\n\n"


def event(content: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> Choice:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(reply: StreamedAnswer) -> dict[str, int]:
    """Token counts: the prompt with its image tokens, the answer with its end token."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
