"""What an event of the page may hold: a value for each of its inputs, and what it says of itself.

An event is read into these types and written anew from them, so that gradio sees what was understood and nothing
else: no file but an uploaded one, no address, no component that a visitor describes, no state.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import gradio as gr
from gradio.block_function import BlockFunction
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from demo.pages.parts.browser_state import valid_turns
from demo.server.limits import DEFAULT
from demo.server.uploads import uploaded_file
from llm.errors import ImageError

NAME = 4096  # characters of a name: of a file, a folder or a choice


class EventPart(BaseModel):
    """A part of an event. Keys that are not listed are not passed on: gradio's browser side sends some to itself."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def _known(path: str) -> str:
    try:
        return str(uploaded_file(path))
    except ImageError as error:
        raise ValueError(str(error)) from None


# What is longer than an answer takes is refused with the other faults of a question; this bounds what a session holds.
TextValue = Annotated[str, Field(max_length=4 * DEFAULT.text)]
NameValue = Annotated[str, Field(max_length=NAME)]
NumberValue = int | Annotated[float, Field(allow_inf_nan=False)]
Discarded = Annotated[None, BeforeValidator(lambda _: None)]  # whatever was sent: gradio makes it itself, or needs none
Scalar = NameValue | NumberValue | bool | None


class FileValue(EventPart):
    """An uploaded file. Its address is not believed: gradio would fetch one."""

    path: Annotated[NameValue, AfterValidator(_known)]
    url: Discarded = None
    orig_name: NameValue | None = None
    size: int | None = None
    mime_type: NameValue | None = None
    is_stream: Literal[False] = False
    meta: dict[Literal["_type"], Literal["gradio.FileData"]] = Field({"_type": "gradio.FileData"}, max_length=1)


class QuestionValue(EventPart):
    """What a box for questions holds."""

    text: TextValue | None = ""
    files: Annotated[list[FileValue], Field(max_length=DEFAULT.parts)] = []


class TurnText(EventPart):
    """A text of a chat's turn."""

    type: Literal["text"] = "text"
    text: TextValue


class TurnFile(EventPart):
    """A picture of a chat's turn."""

    type: Literal["file"] = "file"
    file: FileValue
    alt_text: NameValue | None = None


class TurnValue(EventPart):
    """A turn of the chat; components that a message describes are none of its parts."""

    role: Literal["user", "assistant"]
    content: Annotated[list[TurnText | TurnFile], Field(max_length=DEFAULT.parts)]
    metadata: None = None
    options: Annotated[list[Any], Field(max_length=0)] | None = None


ChatValue = Annotated[list[TurnValue], Field(max_length=2 * DEFAULT.messages, fail_fast=True)]
StoredChat = Annotated[list[Any], BeforeValidator(lambda kept: valid_turns(kept, DEFAULT))]

# What an input may hold, by its component. A component that is not here takes no event: it must be added first.
VALUES: dict[type, TypeAdapter[Any]] = {
    gr.MultimodalTextbox: TypeAdapter(QuestionValue | None),
    gr.Chatbot: TypeAdapter(ChatValue | None),
    gr.State: TypeAdapter(Discarded),  # the server's own
    gr.BrowserState: TypeAdapter(StoredChat),
    gr.Dropdown: TypeAdapter(NameValue | None),
    gr.Textbox: TypeAdapter(TextValue | None),
    gr.Slider: TypeAdapter(NumberValue | None),
    gr.Number: TypeAdapter(NumberValue | None),
}

Index = int | Annotated[list[int], Field(max_length=2)]
Cells = Annotated[list[Scalar], Field(max_length=10_000)]


class CellSelection(EventPart):
    """A cell of a table."""

    index: Index
    value: Scalar
    row_value: Cells | None = None
    col_value: Cells | None = None
    selected: bool = True


class ExampleSelection(EventPart):
    """An example of the chat."""

    index: Index
    value: QuestionValue


class MessageEdit(EventPart):
    """A question of the chat that was changed."""

    index: Index
    value: TextValue
    previous_value: Discarded = None


class TurnReference(EventPart):
    """The turn of the chat that an event is about; its content is not used."""

    index: Index
    value: Discarded = None


# What an event says of itself, by its name; every other says nothing.
EVENT_DATA: dict[str, TypeAdapter[Any]] = {
    "select": TypeAdapter(CellSelection | None),
    "example_select": TypeAdapter(ExampleSelection | None),
    "edit": TypeAdapter(MessageEdit | None),
    "retry": TypeAdapter(TurnReference | None),
    "undo": TypeAdapter(TurnReference | None),
}
NO_EVENT_DATA: TypeAdapter[Any] = TypeAdapter(None)


class PageEvent(EventPart):
    """The body of an event, its parts not yet read."""

    fn_index: int
    session_hash: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    data: Annotated[list[Any], Field(max_length=64)]
    event_data: Any = None
    trigger_id: int | None = None


class InvalidEvent(Exception):
    """An event that is not what the page sends; the message says where."""


def parse_event(body: bytes, functions: dict[int, BlockFunction]) -> PageEvent:
    """The event, every part of it of the shape that the page sends. Raises Unfit."""
    event: PageEvent = _read(lambda: PageEvent.model_validate_json(body), "the event")
    function = functions.get(event.fn_index)
    if function is None or function.fn is None:
        raise InvalidEvent("no event of this page")
    if len(event.data) != len(function.inputs):
        raise InvalidEvent(f"{len(event.data)} values for {len(function.inputs)} inputs")
    if event.trigger_id is not None and event.trigger_id not in triggers(functions.values()):
        raise InvalidEvent("trigger_id: nothing that triggers an event")
    pairs = zip(function.inputs, event.data, strict=True)
    data = [_value(place, block, value) for place, (block, value) in enumerate(pairs)]
    return event.model_copy(update={"data": data, "event_data": _said(function, event.event_data)})


def triggers(functions: Iterable[BlockFunction]) -> set[int]:
    """The numbers of all parts that trigger events."""
    return {number for function in functions for number, _ in function.targets if number is not None}


def _value(place: int, block: object, value: object) -> Any:
    shape = VALUES.get(type(block))
    if shape is None:
        raise InvalidEvent(f"input {place}: the values of a {type(block).__name__} are not judged, so none is taken")
    return _read(lambda: shape.dump_python(shape.validate_python(value), mode="json"), f"input {place}")


def _said(function: BlockFunction, said: object) -> Any:
    names = {name for _, name in function.targets}
    shape = next((EVENT_DATA[name] for name in names if name in EVENT_DATA), NO_EVENT_DATA)
    return _read(lambda: shape.dump_python(shape.validate_python(said), mode="json"), "what the event says of itself")


def _read(read: Callable[[], Any], place: str) -> Any:
    try:
        return read()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise InvalidEvent(f"{place}{': ' + where if where else ''}: {fault['msg']}") from None
