"""The schema of the page's events: one value per input of the event, and gradio's `event_data`.

An event is parsed into these types and serialized again, so that gradio only sees what was validated: uploaded files,
but no other paths, no addresses, no components described by a visitor, no state.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

import gradio as gr
from gradio.block_function import BlockFunction
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import ValidationInfo as Info
from pydantic_core import PydanticCustomError

from demo.pages.parts.browser_state import valid_turns
from demo.server.limits import Limits
from demo.server.uploads import uploaded_file
from llm.errors import ImageError

MAX_NAME = 4096  # characters of a name: of a file, a folder or a choice

T = TypeVar("T")


class EventPart(BaseModel):
    """A part of an event. Unknown keys are dropped: gradio's frontend sends some that only it uses."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def _limits(info: Info) -> Limits:
    assert isinstance(info.context, Limits)  # `parse_event` passes the server's limits as the validation context
    return info.context


def at_most(bound: Callable[[Limits], int]) -> BeforeValidator:
    """Limits the length of a text or a list, before its items are validated."""

    def check(value: object, info: Info) -> object:
        most = bound(_limits(info))
        if isinstance(value, str | list) and len(value) > most:
            raise PydanticCustomError("too_long", "longer than {most}", {"most": most})
        return value

    return BeforeValidator(check)


def _upload(path: str) -> str:
    try:
        return str(uploaded_file(path))
    except ImageError as error:
        raise ValueError(str(error)) from None


# `validate_messages` rejects a text that is longer than `limits.text`; this bounds what a session stores.
TextValue = Annotated[str, at_most(lambda limits: 4 * limits.text)]
NameValue = Annotated[str, Field(max_length=MAX_NAME)]
NumberValue = int | Annotated[float, Field(allow_inf_nan=False)]
Discarded = Annotated[None, BeforeValidator(lambda _: None)]  # replaced by None: gradio sets it itself or ignores it
Scalar = NameValue | NumberValue | bool | None


class FileValue(EventPart):
    """An uploaded file. Its URL is dropped: gradio would fetch it."""

    path: Annotated[NameValue, AfterValidator(_upload)]
    url: Discarded = None
    orig_name: NameValue | None = None
    size: int | None = None
    mime_type: NameValue | None = None
    is_stream: Literal[False] = False
    meta: dict[Literal["_type"], Literal["gradio.FileData"]] = Field({"_type": "gradio.FileData"}, max_length=1)


class QuestionValue(EventPart):
    """The value of a MultimodalTextbox."""

    text: TextValue | None = ""
    files: Annotated[list[FileValue], at_most(lambda limits: limits.parts)] = []


class TurnText(EventPart):
    """A text in a turn of the chat."""

    type: Literal["text"] = "text"
    text: TextValue


class TurnFile(EventPart):
    """An image in a turn of the chat."""

    type: Literal["file"] = "file"
    file: FileValue
    alt_text: NameValue | None = None


class TurnMetadata(EventPart):
    """The mark of a refusal; gradio would also show titles, which only a model that thinks has."""

    id: Literal["refused"]


class TurnValue(EventPart):
    """A turn of the chat. gradio would also accept descriptions of components; they are rejected."""

    role: Literal["user", "assistant"]
    content: Annotated[list[TurnText | TurnFile], at_most(lambda limits: limits.parts)]
    metadata: TurnMetadata | None = None
    options: Annotated[list[Any], Field(max_length=0)] | None = None


ChatValue = Annotated[list[TurnValue], Field(fail_fast=True), at_most(lambda limits: 2 * limits.messages)]
StoredChat = Annotated[list[Any], BeforeValidator(lambda stored, info: valid_turns(stored, _limits(info)))]

# The schema of an input, by its component. An event with an input of another component is rejected.
VALUES: dict[type, TypeAdapter[Any]] = {
    gr.MultimodalTextbox: TypeAdapter(QuestionValue | None),
    gr.Chatbot: TypeAdapter(ChatValue | None),
    gr.State: TypeAdapter(Discarded),  # held by the server
    gr.BrowserState: TypeAdapter(StoredChat),
    gr.Dropdown: TypeAdapter(NameValue | None),
    gr.Radio: TypeAdapter(NameValue | None),
    gr.Textbox: TypeAdapter(TextValue | None),
    gr.Slider: TypeAdapter(NumberValue | None),
    gr.Number: TypeAdapter(NumberValue | None),
}

Index = int | Annotated[list[int], Field(max_length=2)]
Cells = Annotated[list[Scalar], Field(max_length=10_000)]


class CellSelection(EventPart):
    """A selected cell of a table."""

    index: Index
    value: Scalar
    row_value: Cells | None = None
    col_value: Cells | None = None
    selected: bool = True


class ExampleSelection(EventPart):
    """A selected example of the chat."""

    index: Index
    value: QuestionValue


class MessageEdit(EventPart):
    """An edited question of the chat."""

    index: Index
    value: TextValue
    previous_value: Discarded = None


class TurnReference(EventPart):
    """The index of the turn that an event refers to."""

    index: Index
    value: Discarded = None


# The schema of `event_data` by event name; other events have none.
EVENT_DATA: dict[str, TypeAdapter[Any]] = {
    "select": TypeAdapter(CellSelection | None),
    "example_select": TypeAdapter(ExampleSelection | None),
    "edit": TypeAdapter(MessageEdit | None),
    "retry": TypeAdapter(TurnReference | None),
    "undo": TypeAdapter(TurnReference | None),
}
NO_EVENT_DATA: TypeAdapter[Any] = TypeAdapter(None)


class PageEvent(EventPart):
    """The body of an event; `data` and `event_data` are validated afterwards."""

    fn_index: int
    session_hash: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    data: Annotated[list[Any], Field(max_length=64)]
    event_data: object = None
    trigger_id: int | None = None


class InvalidEvent(Exception):
    """An event that the page cannot have sent; the message names the invalid part."""


def parse_event(body: bytes, functions: dict[int, BlockFunction], limits: Limits) -> PageEvent:
    """Parse and validate an event. `functions` are the page's, by number. Raises InvalidEvent."""
    event = _validated(lambda: PageEvent.model_validate_json(body), "the event")
    function = functions.get(event.fn_index)
    if function is None or function.fn is None:
        raise InvalidEvent("no event of this page")
    if len(event.data) != len(function.inputs):
        raise InvalidEvent(f"{len(event.data)} values for {len(function.inputs)} inputs")
    if event.trigger_id is not None and event.trigger_id not in triggers(functions.values()):
        raise InvalidEvent("trigger_id: not a component that triggers events")
    pairs = zip(function.inputs, event.data, strict=True)
    data = [_input(number, block, value, limits) for number, (block, value) in enumerate(pairs)]
    names = {name for _, name in function.targets}
    schema = next((EVENT_DATA[name] for name in names if name in EVENT_DATA), NO_EVENT_DATA)
    event_data = _round_trip(schema, event.event_data, "event_data", limits)
    return event.model_copy(update={"data": data, "event_data": event_data})


def triggers(functions: Iterable[BlockFunction]) -> set[int]:
    """The numbers of all components that trigger events."""
    return {number for function in functions for number, _ in function.targets if number is not None}


def _input(number: int, block: object, value: object, limits: Limits) -> object:
    schema = VALUES.get(type(block))
    if schema is None:
        raise InvalidEvent(f"input {number}: {type(block).__name__} has no schema, so its values are not accepted")
    return _round_trip(schema, value, f"input {number}", limits)


def _round_trip(schema: TypeAdapter[Any], value: object, name: str, limits: Limits) -> object:
    """The value as JSON after validation: only what the schema lists is left."""
    return _validated(lambda: schema.dump_python(schema.validate_python(value, context=limits), mode="json"), name)


def _validated(read: Callable[[], T], name: str) -> T:
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise InvalidEvent(f"{name}{': ' + place if place else ''}: {first['msg']}") from None
