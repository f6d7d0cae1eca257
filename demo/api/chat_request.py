"""Chat requests in OpenAI's format, and their conversion to messages and sampling."""

import secrets
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from demo.api.chat_message import ChatMessage, ContentPart, RequestPart
from demo.api.data_url import image_of, video_of
from demo.api.logprobs import MOST_LIKELIEST
from demo.api.request_keys import (
    CHAT_KEYS,
    OTHER_NAMES,
    STREAM_KEYS,
    KnownKeys,
    parts_alone,
    refused,
    without_effect,
)
from demo.server.input_checks import validate_messages
from demo.server.limits import DEFAULT, MOST_MESSAGES, Limits
from llm.chat.sampling import Sampling
from llm.formats.conversation import Message, MessagePart
from llm.formats.turns.message_turns import ROLES

NO_LIMIT = (0, -1)  # LM Studio and llama.cpp write an unlimited answer as -1, some clients as 0
RANDOM_SEED = -1  # of llama.cpp and its clients: draw one


class StreamOptions(RequestPart):
    """Options of a stream."""

    include_usage: bool | None = None

    @model_validator(mode="after")
    def _review(self) -> Self:
        return self.reviewed(STREAM_KEYS)


def _is_blank(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _stop_words(stop: object) -> object:
    """A list of the texts that are not empty: an empty one asks for nothing."""
    words = [stop] if isinstance(stop, str) else stop
    return [word for word in words if word not in ("", None)] if isinstance(words, list) else words


def _renamed(body: dict[str, object]) -> dict[str, object]:
    """The body with other servers' names of its keys replaced by ours; the value must be the same under both."""
    ours = {name: value for name, value in body.items() if name not in OTHER_NAMES}
    for name, value in body.items():
        offered = OTHER_NAMES.get(name)
        if offered is None:
            continue
        if ours.setdefault(offered, value) != value:
            raise refused(name, f"is another name of {offered}, with another value. Leave one out", "invalid_value")
    return ours


StopWord = Annotated[str, StringConstraints(max_length=100)]
StopWords = Annotated[
    list[StopWord],
    Field(max_length=DEFAULT.stop_words, fail_fast=True),
    BeforeValidator(_stop_words, json_schema_input_type=str | list[str | None]),
]
Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]


class SamplingRequest(RequestPart):
    """What chat and text completions have in common: the model, how its answer is drawn, and how it is sent."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="default 0: greedy")
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="default 1; 0: greedy")
    top_k: Annotated[int, Field(ge=-1)] | None = Field(None, description="extension of OpenAI's API; 0 or -1: off")
    repetition_penalty: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="extension of OpenAI's API; 0 or 1: off"
    )
    max_tokens: Annotated[int, Field(ge=-1)] | None = Field(None, description="0 or -1: no limit of its own")
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(None, description="-1: another each time")
    stop: StopWords | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, body: object) -> object:
        """The body without optional keys that hold nothing; 0 has a meaning of its own in each of them."""
        if not isinstance(body, dict):
            return body
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        may_be_empty = optional | OTHER_NAMES.keys()
        asked = _renamed(
            {name: value for name, value in body.items() if not (name in may_be_empty and _is_blank(value))}
        )
        for name in optional:
            if asked.get(name) is True and cls.model_fields[name].annotation != bool | None:
                raise refused(name, "is true, which is no value of this key", "invalid_type")
        return asked

    def _idle(self, known: KnownKeys) -> list[str]:
        """The keys that do nothing in this request, since what they are a part of is not asked for."""
        penalty = {"repetition_penalty": 1} if self.repetition_penalty not in (None, 0, 1) else {}
        return parts_alone(self.__pydantic_extra__ | penalty, known)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, wanted: int | None, room: int) -> Sampling:
        """The sampling parameters, for an answer of `wanted` tokens and at most `room`; without a seed one is drawn."""
        is_random = self.seed in (None, RANDOM_SEED)
        return Sampling(
            temperature=0.0 if self.top_p == 0 else self.temperature or 0.0,
            top_k=max(0, self.top_k or 0),
            top_p=self.top_p or 1.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            max_new_tokens=room if wanted is None or wanted in NO_LIMIT else min(wanted, room),
            seed=secrets.randbelow(2**31) if is_random or self.seed is None else self.seed,
            stop=tuple(self.stop or ()),
        )


class ChatRequest(SamplingRequest):
    """The body of POST /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=-1)] | None = Field(None, description="the newer name of max_tokens")
    logprobs: bool | None = Field(None, description="log probability of each token of the answer")
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELIEST)] | None = Field(
        None, description="with logprobs: and of so many likeliest ones"
    )

    @model_validator(mode="after")
    def _review(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise refused("top_logprobs", "is given without logprobs: true. Add it, or leave it out", "invalid_value")
        if self.logprobs and self.stop:
            raise refused("logprobs", "is not offered together with stop. Leave one out", "invalid_value")
        return self.reviewed(CHAT_KEYS, self._idle(CHAT_KEYS))

    def _idle(self, known: KnownKeys) -> list[str]:
        """The same, and the keys of tools that the request itself forbids to call."""
        forbidden = {"tools": "tool_choice", "functions": "function_call"}
        extra = self.__pydantic_extra__
        never = ("none", {"type": "none"})
        unused = [tools for tools, choice in forbidden.items() if extra.get(tools) and extra.get(choice) in never]
        return [*unused, *super()._idle(known)]

    def without_effect(self) -> list[str]:
        """The names of the keys that are accepted although they change nothing, each once."""
        names = [*without_effect(self.__pydantic_extra__, CHAT_KEYS), *self._idle(CHAT_KEYS)]
        names += [name for message in self.messages for name in message.without_effect()]
        return list(dict.fromkeys(names))


def messages_of(request: ChatRequest, limits: Limits) -> tuple[Message, ...]:
    """The conversation of a request in the order of training; every image has been decoded once.

    Raises RequestError for messages without a question or too much of anything, RefusedImage for an image that is not
    accepted.
    """
    numbered = enumerate(request.messages, 1)
    return validate_messages(tuple(_message(number, message, limits) for number, message in numbered), limits)


def sampling_of(request: ChatRequest, room: int) -> Sampling:
    """The sampling parameters, for an answer of at most `room` tokens."""
    return request.sampling(wanted_of(request), room)


def wanted_of(request: ChatRequest) -> int | None:
    """The most tokens of the answer that the request asks for; None where it does not say."""
    return request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens


def _message(number: int, message: ChatMessage, limits: Limits) -> Message:
    parts = [_part(f"message {number}", part, limits) for part in message.content]
    parts += [message.refusal] if message.refusal else []
    return Message(ROLES[message.role], tuple(part for part in parts if part != ""))


def _part(where: str, part: ContentPart, limits: Limits) -> MessagePart:
    if part.image_url is not None:
        return image_of(part.image_url.url, where, limits)
    if part.video_url is not None:
        return video_of(part.video_url.url, where, limits)
    return part.text or part.refusal or ""
