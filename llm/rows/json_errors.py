"""Errors of JSON text, with advice on how to correct it."""

from llm.errors import Place, RecordError
from llm.files.bounded_lines import LONGEST


class NotANumber(ValueError):
    """NaN or Infinity, which Python accepts and JSON does not."""


class RepeatedKey(ValueError):
    """A key that one object gives twice, with two values."""


def unreadable_error(place: Place, error: ValueError | RecursionError) -> RecordError:
    """The error of a record that is valid JSON by its grammar, but that Python cannot read."""
    if isinstance(error, NotANumber):
        advice = "JSON has no such number: write null or remove the field"
        return RecordError(place, "JSON", f"{error} in this record", advice, "json-nan")
    if isinstance(error, RepeatedKey):
        return RecordError(place, "JSON", f"key {error} is given twice, with two values", "Keep one", "json-broken")
    if isinstance(error, RecursionError):
        advice = "Records are a few levels deep: correct or remove it"
        return RecordError(place, "JSON", "nested too deeply", advice, "json-deep")
    return RecordError(place, "JSON", "a number of thousands of digits", "Write it as text", "json-broken")


def too_long_error(place: Place) -> RecordError:
    """The error of a record that is too long to be read."""
    found = f"more than {LONGEST:,} characters without an end"
    return RecordError(place, "record", found, "Correct or remove it", "json-broken")


def syntax_error(place: Place, line: int, column: int, message: str, text: str, position: int) -> RecordError:
    """The error of a record, from the parser's message; `position` is the index in `text` where it failed."""
    found = f"broken at line {line} column {column}: {message}"
    if line != place.line:  # the place is that of the record, on whose later line the error is
        found = f"the record that begins here is broken at line {line} column {column}: {message}"
    code, advice = _advice(message, text, position)
    return RecordError(place, "JSON", found, advice, code)


def _advice(message: str, text: str, position: int) -> tuple[str, str]:
    """(code, advice) for a parser's message, from the characters around the position."""
    after = text[position : position + 80].lstrip()
    before = text[max(0, position - 80) : position].rstrip()
    if message.startswith("Unterminated string"):
        return "json-cut", "Close the string with a double quote, or complete the file if it was cut off"
    if not after:
        return "json-cut", "The file or line ends inside a record: complete it, it may have been cut off"
    if message.startswith("Extra data") and after.rstrip() == ",":
        return "json-comma", "Remove the comma at the end of the line"
    if message.startswith("Extra data"):
        return "json-extra", "Write one record a line, or all records in one array [...]"
    if before.endswith(",") and after[0] in "]}":
        return "json-comma", "Remove the comma before it"
    return "json-broken", _advice_on_value(message, after)


def _advice_on_value(message: str, after: str) -> str:
    if after[0] == "'":
        return "JSON strings take double quotes"
    if after.startswith(("True", "False", "None")):
        return "JSON writes true, false and null"
    if after[0] in "/#":
        return "JSON has no comments: remove it"
    if message.startswith("Invalid control character"):
        return "Write a line break inside a string as \\n and a tab as \\t"
    if message.startswith("Invalid \\"):
        return "Write a backslash inside a string as \\\\"
    if "',' delimiter" in message:
        return 'A comma is missing, or a double quote inside a string that must be written as \\"'
    return "Correct the JSON there"
