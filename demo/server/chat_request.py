"""Chat requests in OpenAI's format, and their conversion to messages and sampling. Unsupported keys are errors."""

import base64
import binascii
import secrets
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from demo.server.input_checks import request_error, validate_messages
from demo.server.limits import DEFAULT, Limits
from llm.chat.sampling import Sampling
from llm.errors import ImageError
from llm.formats.chat_turns import ROLES
from llm.formats.conversation import ImageRef, Message


class StrictModel(BaseModel):
    """Base of all parts of a request. Unknown keys are errors: nothing a client asks for is silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextPart(StrictModel):
    """A text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(StrictModel):
    """An image as a data URL. No address is ever fetched."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"  # without effect: the vision tower has one resolution


class ImagePart(StrictModel):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


# Validation ends at the first error: the collected errors of a long list took gigabytes.
Parts = Annotated[
    list[Annotated[TextPart | ImagePart, Field(discriminator="type")]],
    Field(max_length=DEFAULT.parts, fail_fast=True),
]


def kind_of_content(content: object) -> str:
    """The form of a message's content, so that errors of the other form are not reported."""
    return "parts" if isinstance(content, list) else "text"


class ChatMessage(StrictModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Annotated[str, Tag("text")] | Annotated[Parts, Tag("parts")], Discriminator(kind_of_content)]


class StreamOptions(StrictModel):
    """Options of a stream."""

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
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="default 0: greedy")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = Field(None, description="extension of OpenAI's API; 0 or -1: off")
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = Field(
        None, description="extension of OpenAI's API; 1: off"
    )
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: StopWords | None = None
    n: Literal[1] = 1
    user: str | None = Field(None, description="accepted and ignored")


def messages_of(request: ChatRequest, limits: Limits) -> tuple[Message, ...]:
    """The validated conversation of a request; every image has been decoded once.

    Raises RecordError for roles out of order or too much of anything, ImageError for an image that is not accepted.
    """
    numbered = enumerate(request.messages, 1)
    return validate_messages(tuple(_message(number, message, limits) for number, message in numbered), limits)


def sampling_of(request: ChatRequest, room: int) -> Sampling:
    """The sampling parameters, for an answer of at most `room` tokens. Without a seed a random one is drawn."""
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
    """The image in a data URL, not yet validated."""
    head, comma, body = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        found = "an image that is not a data:image/...;base64,... URL"
        advice = "Send the image itself: no address is fetched and no file is opened"
        raise request_error(f"message {number}", found, advice)
    if len(body) > limits.image.max_bytes * 4 // 3 + 4:
        raise ImageError(f"the image is larger than {limits.image.max_bytes:,} bytes. Send a smaller copy")
    try:
        return ImageRef(data=base64.b64decode(body, validate=True))
    except binascii.Error as error:
        raise request_error(f"message {number}", f"an image in invalid base64 ({error})", "Encode it again") from error
