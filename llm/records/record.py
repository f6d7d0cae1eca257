"""One record of a data file as a reader gets it: its fields by type, and a note of those that were read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from llm.errors import Place, RecordError

Row = Mapping[str, object]

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


@dataclass(slots=True)
class Record:
    """One row as a reader gets it: its place, its format and the folder of its images.

    `path` is the path of a nested object inside the row (`conversations[2].`), for messages. Readers take fields by the
    methods below, which note their names in `taken`: what no reader took can be reported. It is not
    frozen, since creating it would take twice as long and large files have millions; nothing assigns to its fields.
    """

    place: Place
    row: Row
    format: str
    images: str = ""  # absolute folder
    columns: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    taken: list[str] = field(default_factory=list, compare=False, repr=False)
    ignored: list[str] = field(default_factory=list, compare=False, repr=False)
    inside: list["Record"] = field(default_factory=list, compare=False, repr=False)  # nested objects that were read

    def error(self, name: str, found: str, advice: str = "", code: str = "record") -> RecordError:
        """A RecordError about one field of this record."""
        default = f"The source is read as {self.format}: correct the record, or name the format it is in"
        return RecordError(self.place, self.path + name, found, advice or default, code)

    def take(self, name: str) -> object:
        """The value of the field, which counts as read; None when it is missing. The caller reads all of the value."""
        self.taken.append(name)
        return self.row.get(name)

    def ignore(self, *names: str) -> None:
        """Declare that fields are known and not trained on: no warning, but a conversion reports them as lost."""
        self.ignored.extend(names)

    def repeats(self, *names: str) -> None:
        """Declare that fields repeat or describe what is read elsewhere, so that nothing of them is lost."""
        self.taken.extend(names)

    def text(self, name: str) -> str:
        """The field as text. Raises RecordError for any other type."""
        value = self.take(name)
        if isinstance(value, str):
            return value
        if value is None:
            raise self.error(name, "is missing", code="field-missing")
        raise self.error(name, f"is {kind(value)}, not text", code="field-type")

    def optional(self, name: str) -> str:
        """The field as text; empty when it is missing or null."""
        return "" if self.take(name) is None else self.text(name)

    def flag(self, name: str, default: bool) -> bool:
        """The field as a bool; `default` when it is missing or null."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.error(
            name, f"is {kind(value)}, not true or false", "Write true or false, without quotes", "field-type"
        )

    def parsed(self, name: str, text: str, advice: str, code: str = "field-type") -> object:
        """The value of JSON text in the field. Raises RecordError when it is broken."""
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError) as error:  # broken, a number of thousands of digits, or nested too deeply
            raise self.error(name, f"broken JSON ({error})", advice, code) from None
        return found

    def items(self, name: str) -> list[object]:
        """The field as a list. Raises RecordError for an empty list and any other type."""
        value = self.take(name)
        if value is None:
            raise self.error(name, "is missing", code="field-missing")
        if not isinstance(value, list):
            raise self.error(name, f"is {kind(value)}, not a list", code="field-type")
        if not value:
            raise self.error(name, "is an empty list", "Add the turns or remove the record", "turns-empty")
        return value

    def parts(self, name: str) -> list["Record"]:
        """The field as a list of objects. Raises RecordError for an empty list and any other type."""
        return [self.part(f"{name}[{index}]", item) for index, item in enumerate(self.items(name))]

    def part(self, name: str, value: object) -> "Record":
        """An object inside this record; its own fields count as read one by one."""
        if not isinstance(value, dict):
            raise self.error(name, f"is {kind(value)}, not an object", code="field-type")
        # Not dataclasses.replace, which took a third of the time of reading LLaVA's 665k records.
        part = Record(self.place, value, self.format, self.images, self.columns, f"{self.path}{name}.")
        self.inside.append(part)
        return part


def kind(value: object) -> str:
    """The type of a JSON value, for messages."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)
