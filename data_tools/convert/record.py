"""The records that converters pass on, and the rows of tables that are joined."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.formats.conversation import Conversation, Message, MessagePart, check_conversation
from llm.formats.image_placeholders import image_ref
from llm.records.record import Record, kind
from llm.rows.files import read_members

Id = str | int


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A checked conversation with the id of its record, None if it had none.

    `unread` names fields of the record that have a value and were not read.
    """

    conversation: Conversation
    id: Id | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The file that was named, the second file of formats that have two, and the absolute folder of the images."""

    path: Path
    images: str
    annotations: Path | None = None
    split: str = "train"


def table(path: Path, name: str, format: str, images: str) -> Iterator[Record]:
    """The rows of the list `name` in a JSON file that is one object. DataError when there are none."""
    found = False
    for member, place, value in read_members(path):
        if member == name:
            found = True
            yield as_record(place, value, format, images)
    if not found:
        raise DataError(f"{path}: the list {name} is missing or empty. Name the right file and --format")


def as_record(place: Place, value: object, format: str, images: str) -> Record:
    """A row of a table; RecordError unless it is an object."""
    if not isinstance(value, dict):
        raise RecordError(place, "record", f"is {kind(value)}, not an object", f"Correct the row of {format}")
    return Record(place, value, format, images)


def id_of(record: Record, name: str) -> Id:
    """An id in a field; RecordError unless it is a number or text."""
    value = record.row.get(name)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise record.error(name, "is missing" if value is None else f"is {kind(value)}, not an id")


def image_conversation(record: Record, file_name: str, turns: Iterable[tuple[str, str]]) -> Conversation:
    """Questions and answers about one image, which precedes the first question; a caption has an empty question."""
    opening: tuple[MessagePart, ...] = (image_ref(record, "file_name", file_name),)
    messages: list[Message] = []
    for question, answer in turns:
        text = (question,) if question else ()
        messages += [Message("user", opening + text), Message("assistant", (answer,))]
        opening = ()
    conversation = Conversation(tuple(messages), record.place)
    check_conversation(conversation)
    return conversation
