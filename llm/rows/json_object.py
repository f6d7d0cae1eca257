"""Read a JSON file that is one object of several lists (COCO, VQAv2) item by item, never all in memory."""

from collections.abc import Iterator
from pathlib import Path

from llm.errors import Place, RecordError
from llm.rows.json_rows import open_json
from llm.rows.json_stream import JsonStream


def json_members(path: Path) -> Iterator[tuple[str, int, object]]:
    """Yield (name, line, value) of the members of an object; of a member that is a list, of each of its items.

    Raises RecordError as `json_rows`, and where the file is not an object.
    """
    with open_json(path) as file:
        stream = JsonStream(str(path), file)
        if stream.peek() != "{":
            raise RecordError(
                Place(str(path), stream.line), "JSON", "is not an object {...}", "Name the format it is in", "row-type"
            )
        for name in members(stream):
            if stream.peek() == "[":
                yield from ((name, line, item) for line, item in _items(stream))
            else:
                yield name, stream.line, stream.value()
        if stream.peek():
            stream.fail(stream.at, "Extra data")


def members(stream: JsonStream) -> Iterator[str]:
    """The names of the members of the object that starts here; each value has to be read before the next name."""
    stream.advance(stream.at + 1)
    more = stream.peek() != "}"
    while more:
        yield _name(stream)
        stream.peek()
        more = _has_next(stream, "}")
    _close(stream)


def _name(stream: JsonStream) -> str:
    """The name of the member that starts here; reads past its colon."""
    if stream.peek() != '"':
        stream.fail(stream.at, "Expecting property name enclosed in double quotes")
    name = stream.value()
    assert isinstance(name, str)
    if stream.peek() != ":":
        stream.fail(stream.at, "Expecting ':' delimiter")
    stream.advance(stream.at + 1)
    return name


def _items(stream: JsonStream) -> Iterator[tuple[int, object]]:
    """The items of the list that starts here; reads past its end."""
    stream.advance(stream.at + 1)
    more = stream.peek() != "]"
    while more:
        stream.peek()
        yield stream.line, stream.value()
        more = _has_next(stream, "]")
    _close(stream)


def _has_next(stream: JsonStream, end: str) -> bool:
    """Whether another item follows; reads past the comma before it."""
    separator = stream.peek()
    if separator not in (",", end):
        stream.fail(stream.at, "Expecting ',' delimiter")
    if separator == ",":
        stream.advance(stream.at + 1)
    return separator == ","


def _close(stream: JsonStream) -> None:
    stream.advance(stream.at + 1)
