"""A request in OpenAI's words becomes messages and a sampling; what is not offered is refused, not ignored."""

import base64
import binascii
import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from demo.server.input_checks import judged, refused
from demo.server.limits import DEFAULT, Limits
from llm.chat.sampling import Sampling
from llm.errors import ImageError
from llm.formats.conversation import ROLES, ImageRef, Message


class StrictModel(BaseModel):
    """A part of a request: no unknown keys, so that no wish is silently dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(StrictModel):
    """Text of a message."""

    type: Literal["text"]
    text: str


class ImageUrl(StrictModel):
    """A picture as a data URL; nothing is ever fetched."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"  # every picture is seen at the tower's one size


class ImagePart(StrictModel):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


# The first fault ends a validation: collected, those of a long list took gigabytes.
Parts = Annotated[
    list[Annotated[TextPart | ImagePart, Field(discriminator="type")]],
    Field(max_length=DEFAULT.parts, fail_fast=True),
]


def kind_of_content(content: object) -> str:
    """The form of a message's content, so that only errors of that form are reported."""
    return "parts" if isinstance(content, list) else "text"


class ChatMessage(StrictModel):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Annotated[str, Tag("text")] | Annotated[Parts, Tag("parts")], Discriminator(kind_of_content)]


class StreamOptions(StrictModel):
    """What a stream ends with."""

    include_usage: bool = False


StopWord = Annotated[str, StringConstraints(min_length=1, max_length=100)]
StopWords = Annotated[
    list[StopWord],
    Field(max_length=DEFAULT.stop_words, fail_fast=True),
    BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop, json_schema_input_type=str | list[str]),
]
Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=DEFAULT.messages, fail_fast=True)]


class ChatRequest(StrictModel):
    """The body of POST /v1/chat/completions."""

    model: str
    messages: Messages
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="0 when left out")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = Field(None, description="not OpenAI's; 0, -1: any token")
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = Field(None, description="not OpenAI's; 1: none")
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: StopWords | None = None
    n: Literal[1] = 1
    user: str | None = Field(None, description="accepted from clients that send it; nothing is kept of it")


def messages_of(request: ChatRequest, limits: Limits) -> tuple[Message, ...]:
    """The conversation that was asked, its pictures judged and decoded once to see that they can be.

    Raises RecordError for roles out of order or too much of anything, ImageError for a picture that is refused.
    """
    numbered = enumerate(request.messages, 1)
    return judged(tuple(_message(number, message, limits) for number, message in numbered), limits)


def sampling_of(request: ChatRequest, room: int) -> Sampling:
    """How to answer in at most `room` tokens; a request without a seed gets a fresh one."""
    wanted = request.max_completion_tokens or request.max_tokens or room
    return Sampling(
        temperature=request.temperature or 0.0,
        top_k=max(0, request.top_k or 0),
        top_p=request.top_p or 1.0,
        repetition_penalty=request.repetition_penalty or 1.0,
        max_new_tokens=min(wanted, room),
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        stop=tuple(request.stop or ()),
    )


def _message(number: int, message: ChatMessage, limits: Limits) -> Message:
    if isinstance(message.content, str):
        return Message(ROLES[message.role], (message.content,))
    parts = tuple(
        part.text if isinstance(part, TextPart) else _image(number, part.image_url.url, limits)
        for part in message.content
    )
    return Message(ROLES[message.role], parts)


def _image(number: int, url: str, limits: Limits) -> ImageRef:
    """The picture of a data URL, not yet judged."""
    head, comma, body = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        found = "an image that is no data:image/...;base64,... URL"
        raise refused(f"message {number}", found, "Send the picture itself: no address is fetched, no file is opened")
    if len(body) > limits.image.max_bytes * 4 // 3 + 4:
        raise ImageError(f"the image is larger than {limits.image.max_bytes:,} bytes. Send a smaller copy")
    try:
        return ImageRef(data=base64.b64decode(body, validate=True))
    except binascii.Error as error:
        raise refused(f"message {number}", f"an image in broken base64 ({error})", "Encode it again") from error
