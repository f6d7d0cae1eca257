"""One row of a data file with its place, before any format interprets it."""

from dataclasses import dataclass

from llm.errors import Place, RecordError


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file, or its error; `text` is its JSON text, empty for other file types."""

    place: Place
    value: object = None
    text: str = ""
    error: RecordError | None = None


def broken(error: RecordError, text: str = "") -> RawRow:
    """A row that could not be read."""
    return RawRow(error.place, text=text, error=error)


def place_of(file: str, line: int, row: object, otherwise: str = "") -> Place:
    """The place of a row, with its own id, or `otherwise` if it has none."""
    name = row.get("id") if isinstance(row, dict) else None
    return Place(file, line, str(name) if isinstance(name, str | int) and name != "" else otherwise)
