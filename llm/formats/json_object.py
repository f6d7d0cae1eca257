"""A JSON file that is one object of several tables (COCO, VQAv2), item by item: none is held whole."""

from collections.abc import Iterator
from pathlib import Path

from llm.errors import Place, RecordError
from llm.formats.json_rows import open_json
from llm.formats.json_stream import JsonStream


def json_members(path: Path) -> Iterator[tuple[str, int, object]]:
    """(name, line, value) of the members of a file that is one object; a list comes item by item under its name.

    Raises RecordError as `json_rows` does, and where the file is no object.
    """
    with open_json(path) as file:
        tape = JsonStream(str(path), file)
        if tape.peek() != "{":
            raise RecordError(
                Place(str(path), tape.line), "JSON", "is not an object {...}", "Name the format it is in", "row-type"
            )
        tape.advance(tape.at + 1)
        more = tape.peek() != "}"
        while more:
            name = _name(tape)
            if tape.peek() == "[":
                yield from ((name, line, item) for line, item in _items(tape))
            else:
                yield name, tape.line, tape.value()
            more = _goes_on(tape, "}")
        _close(tape)
        if tape.peek():
            tape.fail(tape.at, "Extra data")


def _name(tape: JsonStream) -> str:
    """The name of the member that starts here, its colon passed over."""
    if tape.peek() != '"':
        tape.fail(tape.at, "Expecting property name enclosed in double quotes")
    name = tape.value()
    assert isinstance(name, str)
    if tape.peek() != ":":
        tape.fail(tape.at, "Expecting ':' delimiter")
    tape.advance(tape.at + 1)
    return name


def _items(tape: JsonStream) -> Iterator[tuple[int, object]]:
    """The items of the list that starts here, which is passed over."""
    tape.advance(tape.at + 1)
    more = tape.peek() != "]"
    while more:
        tape.peek()
        yield tape.line, tape.value()
        more = _goes_on(tape, "]")
    _close(tape)


def _goes_on(tape: JsonStream, end: str) -> bool:
    """True behind a comma, which is passed over; False before the end."""
    separator = tape.peek()
    if separator not in (",", end):
        tape.fail(tape.at, "Expecting ',' delimiter")
    if separator == ",":
        tape.advance(tape.at + 1)
    return separator == ","


def _close(tape: JsonStream) -> None:
    tape.advance(tape.at + 1)
