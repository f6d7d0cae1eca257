"""One message of a chat request in the forms that clients send it in."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from demo.api.request_keys import MESSAGE_KEYS, PART_KEYS, KnownKeys, refused, review, without_effect
from demo.server.limits import DEFAULT

# Names of the Responses API for the parts of the chat API, and the content of our own answers.
PART_NAMES = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_video": "video_url"}
PARTS = ("text", "refusal", "image_url", "video_url")
IMAGE_HOLDERS = ("image", "source", "base64", "data", "url")
TOOL_ROLES = ("tool", "function")
# What an earlier model thought before its answer, as several services write it: models here never read it.
THOUGHTS = ("thinking", "redacted_thinking", "think", "reasoning", "reasoning_content")


class RequestPart(BaseModel):
    """Base of all parts of a request: other servers' keys are reviewed, so that no wish is silently ignored."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    def reviewed(self, known: KnownKeys, idle: Collection[str] = ()) -> Self:
        """The part itself. Raises PydanticCustomError for a key, not in `idle`, that asks for what is not offered."""
        asked = {name: value for name, value in self.__pydantic_extra__.items() if name not in idle}
        review(asked, known, type(self).model_fields)
        return self


class ImageUrl(RequestPart):
    """An image as a data URL. No address is ever fetched."""

    url: str
    detail: Literal["auto", "low", "high", "original", ""] | None = None  # no effect: a tower has one resolution

    @model_validator(mode="after")
    def _review(self) -> Self:
        return self.reviewed(PART_KEYS)


class VideoUrl(RequestPart):
    """A video as a data URL, as vLLM takes it. No address is ever fetched."""

    url: str

    @model_validator(mode="after")
    def _review(self) -> Self:
        return self.reviewed(PART_KEYS)


def _image_url(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class ContentPart(RequestPart):
    """A text, an image or a video in a message."""

    type: Literal["text", "image_url", "video_url", "refusal", "thought"]
    text: str | None = None
    refusal: str | None = None
    image_url: Annotated[ImageUrl, BeforeValidator(_image_url, json_schema_input_type=ImageUrl | str)] | None = None
    video_url: Annotated[VideoUrl, BeforeValidator(_image_url, json_schema_input_type=VideoUrl | str)] | None = None
    detail: Literal["auto", "low", "high", "original", ""] | None = None

    @model_validator(mode="after")
    def _review(self) -> Self:
        if self.type == "thought":
            return self
        for name in PARTS:
            if name != self.type and getattr(self, name):
                raise refused(name, f"is in a part of type {self.type}. Send it as a part of its own", "invalid_value")
        if self.type == "image_url" and self.image_url is None:
            raise refused("image_url", "is missing. Send the image as a data URL", "missing_required_parameter")
        if self.type == "video_url" and self.video_url is None:
            raise refused("video_url", "is missing. Send the video as a data URL", "missing_required_parameter")
        return self.reviewed(PART_KEYS)


def _parts(content: object) -> object:
    """Every form of content as a list of parts."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise refused("", "content is neither a text nor a list of parts", "invalid_type")
    return [_part(number, part) for number, part in enumerate(content)]


def _part(number: int, part: object) -> object:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return part
    name = part.get("type") or _kind_without_type(part)
    if name is None:
        return part
    if not isinstance(name, str):
        raise refused(f"{number}.type", "the type of a part is not a text", "invalid_type")
    if name == "image":
        return _image_part(part)
    if name == "video" and isinstance(part.get("video"), str):
        rest = {key: value for key, value in part.items() if key != "video"}
        return rest | {"type": "video_url", "video_url": part["video"]}
    if name in THOUGHTS:
        return {"type": "thought"}
    if name in PART_NAMES:
        return part | {"type": PART_NAMES[name]}
    if name in PARTS:
        return part | {"type": name}
    offered = "texts, images as type image_url and videos as type video_url"
    found = f"a part of type {name[:40]!r} is not offered here. Send {offered}"
    raise refused(f"{number}.type", found, "unsupported_value")


def _kind_without_type(part: dict[str, object]) -> str | None:
    """The type of a part that names none: that of its only content."""
    found = [name for name in PARTS if part.get(name)]
    return found[0] if len(found) == 1 else None


def _image_part(part: dict[str, object]) -> dict[str, object]:
    """An image as the AI SDK (`image`), Anthropic (`source`) and LangChain (`base64`, `data`, `url`) write it.

    What is missing is refused afterwards.
    """
    source = part.get("source")
    holder = source if isinstance(source, dict) else part
    rest = {name: value for name, value in part.items() if name not in IMAGE_HOLDERS} | {"type": "image_url"}
    image = part.get("image_url") or part.get("image") or holder.get("url")
    encoded = holder.get("base64") or holder.get("data")
    if isinstance(encoded, str):
        image = f"data:{holder.get('media_type') or holder.get('mime_type') or ''};base64,{encoded}"
    return rest | {"image_url": image} if image else rest


# Validation ends at the first error: the collected errors of a long list took gigabytes.
Parts = Annotated[
    list[ContentPart],
    Field(max_length=DEFAULT.parts, fail_fast=True),
    BeforeValidator(_parts, json_schema_input_type=str | list[ContentPart | str] | None),
]


def _role(role: object) -> object:
    if role in TOOL_ROLES:
        raise refused("", "the server calls no tools. Start a new chat without them", "unsupported_value")
    return role


class ChatMessage(RequestPart):
    """One message of the conversation."""

    role: Annotated[Literal["system", "developer", "user", "assistant"], BeforeValidator(_role)]
    content: Parts = []
    refusal: str | None = None  # what an assistant said instead of an answer

    @model_validator(mode="after")
    def _review(self) -> Self:
        if "content" not in self.model_fields_set and self.role != "assistant":
            raise refused("content", "is missing. Send the text of the message", "missing_required_parameter")
        return self.reviewed(MESSAGE_KEYS)

    def without_effect(self) -> Iterator[str]:
        """The keys that are accepted although they change nothing, as the request's header names them."""
        yield from (f"messages.{name}" for name in without_effect(self.__pydantic_extra__, MESSAGE_KEYS))
        for part in self.content:
            yield from ("messages.content.thinking",) if part.type == "thought" else ()
            yield from (f"messages.content.{name}" for name in without_effect(part.__pydantic_extra__, PART_KEYS))
