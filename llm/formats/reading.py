"""What training reads of a record, what it leaves out, and the report of both for a source."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llm.errors import Place
from llm.formats.conversation import Conversation, Message
from llm.formats.reading_notes import ReadingNotes
from llm.log import logger
from llm.records.record import Record
from llm.records.unread_fields import UnreadField

UNANSWERED = "marked as unanswered"
LABELS = ("label", "kto_tag")  # as TRL names it, and as LLaMA-Factory does


@dataclass(frozen=True, slots=True)
class Reading:
    """A record as training reads it. `conversation` is None for a record that is left out; `reason` says why.

    `unread` are the filled fields that its reader did not take.
    """

    conversation: Conversation | None
    unread: tuple[UnreadField, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class ReadingReport:
    """Counts over the records of a source, for the log: one line a reason and one line a field, not one a record."""

    source: str
    conversations: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    first: dict[str, Place] = field(default_factory=dict)
    notes: ReadingNotes = field(default_factory=ReadingNotes)

    def add(self, record: Record, reading: Reading) -> None:
        """Count one record."""
        if reading.conversation is None:
            self.left_out[reading.reason] += 1
            self.first.setdefault(reading.reason, record.place)
            return
        self.conversations += 1
        self.notes.add(reading.conversation)
        self.add_unread(record, reading.unread)

    def add_unread(self, record: Record, unread: Iterable[UnreadField]) -> None:
        """Count the fields of a record that no reader took, without labels."""
        for name in {one.name for one in unread if one.kind != "label"}:
            self.fields[name] += 1
            self.first.setdefault(name, record.place)

    def log(self, warn: Callable[[str], object] = logger.warning) -> None:
        """Warn of records that are left out, and of fields with text that are not trained on."""
        for reason, count in self.left_out.items():
            warn(f"{self.source}: left out {_rows(count)} {reason}, first {self.first[reason]}")
        for name, count in self.fields.items():
            found = f"{self.source}: field {name} of {_rows(count)} is not read and not trained on"
            warn(f"{found}, first {self.first[name]}")
        self.notes.log(self.source, warn)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def why_left_out(record: Record, messages: tuple[Message, ...]) -> str:
    """Why training leaves a record out: it has no answer, or KTO's label says that the answer is bad. Empty if not."""
    if not messages:
        return UNANSWERED
    if messages[0].role == "assistant":
        return ""  # a text; a label is its class
    for name in LABELS:
        if judged(record, name) is False:
            return f"with {name}: false, whose answer is a bad example"
    return ""


def judged(record: Record, name: str) -> bool | None:
    """KTO's label in a field: whether the answer is good; None where there is none.

    A number is a label beside a `completion` alone: elsewhere it is a class, such as that of a text.
    """
    value = record.row.get(name)
    if isinstance(value, bool):
        return value
    if type(value) is int and "completion" in record.row and value in (0, 1):
        return value == 1
    return value.lower() == "true" if isinstance(value, str) and value.lower() in ("true", "false") else None


def label_of(record: Record) -> bool | None:
    """KTO's label of the record, under any of its names; None without one."""
    found = ((name, judged(record, name)) for name in LABELS)
    name, label = next(((name, label) for name, label in found if label is not None), ("", None))
    if name:
        record.repeats(name)
    return label
