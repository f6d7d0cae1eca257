"""JSON files whose records lie in lists of one object: `{"data": [...]}`, `{"train": [...], "test": [...]}`.

They are read as a stream, item by item.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llm.errors import DataError, RecordError
from llm.rows.json_object import members
from llm.rows.json_rows import array_records, open_json
from llm.rows.json_stream import JsonRecord, JsonStream
from llm.rows.split_names import missing_split, same_split, split_of_list

_LISTS = (
    "data dataset rows records samples examples items instances entries list results annotations questions qa qas "
    "qa_pairs pairs captions dialogs dialogues chats corpus documents docs"
)
"""Names that people give the list of all records."""
_OF_RECORDS = (
    "id image images messages conversations conversation instruction prompt completion query response question answer "
    "input output text texts chosen file_name caption"
)
"""Names of fields: an object that has one is itself a record."""
_DESCRIPTIVE = "version info license licenses name description date author url language num_rows_total"
_OF_TURNS = ({"role", "content"}, {"from", "value"}, {"human", "assistant"}, {"user", "assistant"})
_OF_TABLES = frozenset({"image_id", "bbox", "segmentation"})  # COCO and VQAv2, whose tables have to be joined


def is_wrapped(path: Path) -> bool:
    """Whether a JSON file begins with an object around lists of records. Reads up to the first item of such a list."""
    try:
        with open_json(path) as file:
            stream = JsonStream(str(path), file)
            return stream.peek() == "{" and _holds_records(stream)
    except RecordError:
        return False  # reading it reports the error


def _holds_records(stream: JsonStream) -> bool:
    found = False
    for name in members(stream):
        if name in _OF_RECORDS.split():
            return False
        is_list, wraps = stream.peek() == "[", bool(_is_list(name) or split_of_list(name))
        if wraps and stream.peek() == "{":
            return _holds_records(stream)
        if not is_list:
            stream.value()
            continue
        for item in array_records(stream):
            if wraps and item.error is None:
                return _is_record(item.value)
        found = found or wraps  # an empty list
    return found


def _is_list(name: str) -> bool:
    return name.lower() in _LISTS.split()


def _is_record(item: object) -> bool:
    if isinstance(item, list):
        return bool(item) and isinstance(item[0], dict)  # a conversation as a list of its messages
    if not isinstance(item, dict) or _OF_TABLES & set(item):
        return False
    return not any(turn <= set(item) for turn in _OF_TURNS)


@dataclass(slots=True)
class WrappedRecords:
    """Reads the lists of `split`, or those that are no split, and notes what is left out."""

    path: Path
    split: str
    read: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)  # list -> its items
    others: list[str] = field(default_factory=list)  # members that are no list

    def records(self) -> Iterator[JsonRecord]:
        """Yield every record. Raises RecordError for broken JSON between them, DataError without the split."""
        with open_json(self.path) as file:
            stream = JsonStream(str(self.path), file)
            stream.peek()
            yield from self._object(stream, "")
            if stream.peek():
                yield JsonRecord(stream.line, "", error=stream.broken(stream.at, "Extra data"))
        splits = [name for name in self.unread if split_of_list(name)]
        if not self.read and splits:
            raise DataError(missing_split(self.path, splits, self.split))

    def report(self) -> str:
        """One line on what was not read; empty where that is nothing."""
        lists = [f"{name} ({count:,})" for name, count in self.unread.items()]
        if not lists and not self.others:
            return ""
        return f"{self.path}: reads {', '.join(self.read)}; not read: {', '.join([*lists, *self.others])}"

    def _object(self, stream: JsonStream, outer: str) -> Iterator[JsonRecord]:
        for name in members(stream):
            opening = stream.peek()
            split = split_of_list(name)
            if opening == "{" and (split or _is_list(name)):
                yield from self._object(stream, split or outer)
            elif opening != "[":
                stream.value()
                self.others += [] if name.lower() in _DESCRIPTIVE.split() else [name]
            elif self._takes(name, split or outer):
                self.read.append(name)
                yield from map(_row_of_viewer, array_records(stream))
            else:
                self.unread[name] += sum(1 for _ in array_records(stream))

    def _takes(self, name: str, split: str) -> bool:
        return same_split(split, self.split) if split else _is_list(name)


def _row_of_viewer(record: JsonRecord) -> JsonRecord:
    """The hub's API wraps every row once more: `{"row_idx": 0, "row": {...}}`."""
    value = record.value
    if isinstance(value, dict) and "row_idx" in value and isinstance(value.get("row"), dict):
        return JsonRecord(record.line, "", value["row"], record.error)
    return record


def read_wrapped(path: Path, split: str, report: Callable[[str], object]) -> Iterator[JsonRecord]:
    """Yield the records of a file that `is_wrapped`; at the end `report` gets one line on what was not read.

    Of splits the file's own `split` is read. Raises DataError when it has others only.
    """
    wrapped, last = WrappedRecords(path, split), JsonRecord(0, "")
    try:
        for last in wrapped.records():
            yield last
    except RecordError as error:
        if str(error) != str(last.error):  # a list that is cut off is also an object that is
            yield JsonRecord(error.place.line, "", error=error)
        return
    if line := wrapped.report():
        report(line)
