"""The rows of a benchmark file: records one by one, or those in the lists of one JSON object."""

from dataclasses import dataclass, field
from pathlib import Path

from llm.errors import Place, RecordError
from llm.records.record import Row, kind
from llm.rows.compressed import suffix_of
from llm.rows.files import raw_rows
from llm.rows.json_object import members
from llm.rows.json_rows import array_records, open_json, wide_error
from llm.rows.json_stream import JsonStream

_JSON = frozenset({".json", ".jsonl", ".ndjson", ".jsonlines"})
_LISTS = ("questions", "annotations", "data", "images")
"""Members of the objects of VQAv2, TextVQA, DocVQA and COCO that are lists of rows."""


@dataclass(frozen=True, slots=True)
class Item:
    """A row and its place; `member` is the list that it is in, or its key in an object of rows."""

    place: Place
    row: Row
    member: str = ""


@dataclass(slots=True)
class FileRows:
    """A file's rows, the single values of its object, and the errors of rows that could not be read."""

    path: Path
    items: list[Item] = field(default_factory=list)
    about: dict[str, object] = field(default_factory=dict)
    lost: list[RecordError] = field(default_factory=list)
    is_keyed: bool = False  # an object of rows, as GQA and ScienceQA are

    def members(self, name: str) -> list[Item]:
        """The rows of one list."""
        return [item for item in self.items if item.member == name]


def read_file(path: Path) -> FileRows:
    """The rows of a file. Raises DataError for one of an unknown kind, RecordError for a broken JSON object."""
    found = _object_rows(path) if suffix_of(path) in _JSON and path.is_file() and not wide_error(path) else None
    if found is not None:
        return found
    found = FileRows(path)
    for raw in raw_rows(path, "test", lambda line: None):
        if raw.error is not None:
            found.lost.append(raw.error)
        elif isinstance(raw.value, dict):
            found.items.append(Item(raw.place, raw.value))
        else:
            found.lost.append(_no_object(raw.place, raw.value))
    return found


def _no_object(place: Place, value: object) -> RecordError:
    advice = 'Write every record as {"name": value, ...}'
    return RecordError(place, "record", f"is {kind(value)}, not an object", advice, "row-type")


def _object_rows(path: Path) -> FileRows | None:
    """The rows in the lists of a file's only object, or of an object of rows; None for any other file."""
    with open_json(path) as file:
        stream = JsonStream(str(path), file)
        if stream.peek() != "{":
            return None
        found = FileRows(path)
        try:
            lines = _read_members(stream, found)
        except RecordError:
            if _is_one_object(path):
                raise
            return None
        if stream.peek():
            return None  # records one after the other
    if found.items:
        return found
    keyed = {name: value for name, value in found.about.items() if isinstance(value, dict)}
    if len(keyed) < 2 or len(keyed) < len(found.about):
        return None
    items = [Item(Place(str(path), lines[name], name), value, name) for name, value in keyed.items()]
    return FileRows(path, items, is_keyed=True)


def _read_members(stream: JsonStream, found: FileRows) -> dict[str, int]:
    """Read an object into `found`: the items of its lists as rows, other values as `about`; returns their lines."""
    lines: dict[str, int] = {}
    for name in members(stream):
        if stream.peek() == "[" and name in _LISTS:
            for number, record in enumerate(array_records(stream), 1):
                place = Place(stream.path, record.line, f"{name} {number}")
                if record.error is not None:
                    found.lost.append(record.error)
                elif isinstance(record.value, dict):
                    found.items.append(Item(place, record.value, name))
                else:
                    found.lost.append(_no_object(place, record.value))
        else:
            lines[name] = stream.line
            found.about[name] = stream.value()
    return lines


def _is_one_object(path: Path) -> bool:
    """Whether the file looks like one object of lists, and not like a record a line."""
    with open_json(path) as file:
        start = file.read(4096)
    first, _, rest = start.strip().partition("\n")
    return not rest.lstrip().startswith("{") and any(f'"{name}"' in first + rest for name in _LISTS)
