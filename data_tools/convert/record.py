"""What a converter hands on: a checked conversation and its id; and the rows of tables that have to be joined."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.formats.conversation import Conversation, Message, MessagePart, check_conversation
from llm.formats.image_placeholders import image_ref
from llm.formats.row_files import Record, kind, read_members

Id = str | int


@dataclass(frozen=True, slots=True)
class InputRecord:
    """One record on its way from one format to another. An id of None: the row had none.

    `unread` names the fields of the row that hold something and belong to no format.
    """

    conversation: Conversation
    id: Id | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Files of tables: the one that was named, a second one where the format has two, and the folder of the images."""

    path: Path
    images: str  # absolute
    annotations: Path | None = None
    split: str = "train"


def table(path: Path, name: str, format: str, images: str) -> Iterator[Record]:
    """The rows of one list of a JSON file that is one object. DataError when it has none."""
    found = False
    for member, place, value in read_members(path):
        if member == name:
            found = True
            yield as_record(place, value, format, images)
    if not found:
        raise DataError(f"{path}: no list {name} in this file, or an empty one. Name the right file and --format")


def as_record(place: Place, value: object, format: str, images: str) -> Record:
    """A row of a table that must be an object."""
    if not isinstance(value, dict):
        raise RecordError(place, "record", f"is {kind(value)}, not an object", f"Correct the row of {format}")
    return Record(place, value, format, images)


def id_of(record: Record, name: str) -> Id:
    """A field that must be a number or a text that names something."""
    value = record.row.get(name)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise record.error(name, "is missing" if value is None else f"is {kind(value)}, not an id")


def image_conversation(record: Record, file_name: str, turns: Iterable[tuple[str, str]]) -> Conversation:
    """Questions and answers about one picture, which stands before the first question; a caption asks nothing."""
    opening: tuple[MessagePart, ...] = (image_ref(record, "file_name", file_name),)
    messages: list[Message] = []
    for question, answer in turns:
        asked = (question,) if question else ()
        messages += [Message("user", opening + asked), Message("assistant", (answer,))]
        opening = ()
    conversation = Conversation(tuple(messages), record.place)
    check_conversation(conversation)
    return conversation
