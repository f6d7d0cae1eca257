"""The rows of a benchmark file: records one by one, or those in the lists of one JSON object."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llm.errors import Place, RecordError
from llm.records.record import Row, kind
from llm.rows.compressed import suffix_of
from llm.rows.files import raw_rows
from llm.rows.json_object import members
from llm.rows.json_rows import open_json, wide_error
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
        try:
            values = list(_values(stream))
        except RecordError:
            if _is_one_object(path):
                raise
            return None
        if stream.peek():
            return None  # records one after the other
    found = FileRows(path)
    lists = {name: value for name, (_, value) in values if name in _LISTS and isinstance(value, list)}
    if lists:
        found.about = {name: value for name, (_, value) in values if name not in lists}
        for name, (line, value) in values:
            if name in lists and isinstance(value, list):
                _add(found, path, name, line, value)
        return found
    if len(values) > 1 and all(isinstance(value, dict) for _, (_, value) in values):
        found.is_keyed = True
        for name, (line, value) in values:
            if isinstance(value, dict):
                found.items.append(Item(Place(str(path), line, name), value, name))
        return found
    return None


def _values(stream: JsonStream) -> Iterator[tuple[str, tuple[int, object]]]:
    for name in members(stream):
        stream.peek()
        line = stream.line
        yield name, (line, stream.value())


def _is_one_object(path: Path) -> bool:
    """Whether the file looks like one object of lists, and not like a record a line."""
    with open_json(path) as file:
        start = file.read(4096)
    first, _, rest = start.strip().partition("\n")
    return not rest.lstrip().startswith("{") and any(f'"{name}"' in first + rest for name in _LISTS)


def _add(found: FileRows, path: Path, name: str, line: int, rows: list[object]) -> None:
    for number, row in enumerate(rows, 1):
        place = Place(str(path), line, f"{name} {number}")
        if isinstance(row, dict):
            found.items.append(Item(place, row, name))
        else:
            found.lost.append(_no_object(place, row))
