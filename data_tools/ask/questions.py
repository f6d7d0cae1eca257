"""The questions to send: lines of a text, records of a data file, or an instruction for each image of a folder."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llm.errors import ConfigError, DataError, ImageError, Place, RecordError
from llm.files.regular_files import IMAGE, TEXT, open_regular, read_text
from llm.records.record import kind
from llm.rows.files import read_rows

FIELDS = ("question", "instruction", "prompt", "input", "text")  # of a record; the first that it has
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
SHOWN = 40  # characters of a question in a message


@dataclass(frozen=True, slots=True)
class ApiQuestion:
    """One question. `id` is the record's, or the image's path under its folder; `digest` is the image file's sha256."""

    text: str
    id: str = ""
    image: str = ""  # absolute
    digest: str = ""

    @property
    def name(self) -> str:
        """Its name in messages."""
        short = self.text if len(self.text) <= SHOWN else f"{self.text[:SHOWN]}..."
        return self.id or f'"{short}"'


def read_questions(path: Path, field: str = "") -> list[ApiQuestion]:
    """The questions of a file in order: one a line of text, or one a record, which is text or an object.

    `field` names the object's question. Raises DataError for a file without questions, RecordError for a record
    without one.
    """
    questions = list(_lines(path) if path.suffix.lower() in (".txt", ".md") else _rows(path, field))
    if not questions:
        raise DataError(f"{path}: has no questions. Write one on each line")
    return questions


def _lines(path: Path) -> Iterator[ApiQuestion]:
    try:
        text = read_text(path, TEXT, "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Correct the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}). Save the file as UTF-8") from None
    return (ApiQuestion(line.strip()) for line in text.split("\n") if line.strip())


def _rows(path: Path, field: str) -> Iterator[ApiQuestion]:
    for place, row in read_rows(path):
        yield ApiQuestion(_text_of(place, row, field), place.id)


def _text_of(place: Place, row: object, field: str) -> str:
    if isinstance(row, dict):
        name = field or next((name for name in FIELDS if name in row), "")
        if name not in row:
            keys = ", ".join(row) if row else "none"
            raise RecordError(place, "question", f"the record's fields are {keys}", "Name the right one with --field")
        value = row[name]
    else:
        name, value = "question", row
    if not isinstance(value, str):
        raise RecordError(place, name, f"is {kind(value)}, not text", "Write every question as text")
    if not value.strip():
        raise RecordError(place, name, "is empty", "Write the question or remove the record")
    return value.strip()


def image_questions(folder: Path, text: str) -> list[ApiQuestion]:
    """The question `text` about every image under a folder, in the order of paths; hidden files are skipped.

    Raises ConfigError for a folder without images, ImageError for an image that cannot be read.
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    names = sorted(path.relative_to(folder) for path in found)
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if not shown:
        raise ConfigError(f"{folder}: no image in this folder. Supported are {' '.join(sorted(IMAGE_SUFFIXES))}")
    return [_image_question(folder.absolute() / name, name.as_posix(), text) for name in shown]


def _image_question(path: Path, name: str, text: str) -> ApiQuestion:
    try:
        with open_regular(path, IMAGE) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}. Make it readable or remove it") from error
    return ApiQuestion(text, name, str(path), digest)


def without_repeats(questions: Iterable[ApiQuestion]) -> list[ApiQuestion]:
    """The first of each set of questions with equal text and image, in order."""
    first: dict[tuple[str, str], ApiQuestion] = {}
    for question in questions:
        first.setdefault((question.text, question.digest), question)
    return list(first.values())
