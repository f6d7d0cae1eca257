"""A text file as one row, for continued pretraining."""

from collections.abc import Iterator
from pathlib import Path

from llm.errors import DataError, Place, RecordError
from llm.files.regular_files import TEXT, read_text
from llm.rows.encodings import encoding_error, find_encoding_error, wide_encoding
from llm.rows.raw_row import RawRow, broken


def text_rows(path: Path) -> Iterator[RawRow]:
    """The text as `{"text": ...}`; no row for an empty file. Raises DataError if it cannot be read."""
    try:
        text = read_text(path, TEXT, "utf-8-sig", "surrogateescape")
    except OSError as cause:
        raise DataError(f"{path}: {cause.strerror}. Correct the path, or split the text into files") from cause
    if not text.strip():  # an empty file (`__init__.py`) holds no record
        return
    encoding = wide_encoding(text[:64].encode("utf-8", "surrogateescape"))
    if encoding:
        yield broken(encoding_error(Place(str(path), 1), encoding, encoding))
        return
    error = find_encoding_error(Place(str(path), 1), text)
    if error is None:
        yield RawRow(Place(str(path), 1), {"text": text})
        return
    line = 1 + next(number for number, line in enumerate(text.split("\n")) if find_encoding_error(error.place, line))
    place = Place(str(path), line)
    yield broken(RecordError(place, error.field, error.found, error.advice, error.code))
