"""What the readers of rows share: the record of an item, its texts and ids, and its images."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.formats.conversation import ImageRef
from llm.formats.image_placeholders import image_ref
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank
from vlm.questions.file_rows import Item
from vlm.questions.question import Question
from vlm.scores.boxes import BoxConvention

GROUP_OF_CIRCLE = 1_000_000  # MMBench: rows index + k 1,000,000 are circular passes of one question

IN_PIXELS = BoxConvention("pixels")


@dataclass(frozen=True, slots=True)
class Context:
    """What readers know besides the row: its file, the image folder, and the convention of true boxes."""

    file: Path
    images: str  # absolute folder
    boxes: BoxConvention = IN_PIXELS
    pool: Mapping[str, ImageRef] | None = None  # images of rows that others refer to, by their index

    @property
    def stem(self) -> str:
        """The file's name without suffixes."""
        return self.file.name.partition(".")[0]


RowReader = Callable[[Record, Context], Question]


@dataclass(frozen=True, slots=True)
class RowForm:
    """A form whose rows are questions by themselves: `fits` says whether a row is of it. `shape` is for messages."""

    name: str
    shape: str
    fits: Callable[[Row], bool]
    read: RowReader


def record_of(item: Item, form: str, context: Context) -> Record:
    """The item as a record, with names of columns such as `Question` in lower case."""
    row = dict(item.row)
    for name in ("Question", "Answer"):
        if name in row and name.lower() not in row:
            row[name.lower()] = row[name]
    return Record(item.place, row, form, context.images)


def word(record: Record, *names: str) -> str:
    """The first of the fields that is there, as text; numbers are written out. Empty without any."""
    for name in names:
        value = record.row.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and not is_blank(value):
            record.take(name)
            return str(value).strip()
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
    return ""


def needed(record: Record, name: str, *others: str) -> str:
    """The first of the fields that is there, as text. Raises RecordError if all are missing or blank."""
    if found := word(record, name, *others):
        return found
    value = record.row.get(name)
    if value is None or is_blank(value):
        raise record.error(name, "is missing", "Complete the row or remove it", "field-missing")
    return record.text(name)


def name_of(record: Record, *names: str) -> str:
    """The question's own id, or its place."""
    return word(record, *names) or record.place.id or str(record.place.line)


def texts_of(record: Record, name: str) -> tuple[str, ...]:
    """A text, or a list of texts or of objects with `answer`. Raises RecordError for anything else."""
    value = record.take(name)
    listed = value if isinstance(value, list) else [value]
    found: list[str] = []
    for one in listed:
        text = one.get("answer") if isinstance(one, dict) else one
        if isinstance(text, int | float) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str):
            raise record.error(name, "is not a text or a list of texts", "Write the accepted answers", "field-type")
        found.append(text)
    if not found:
        raise record.error(name, "is an empty list", "Write the accepted answers", "answer-missing")
    return tuple(found)


def images_of(record: Record, context: Context, *names: str) -> tuple[ImageRef, ...]:
    """The images of the first field that is filled: paths, base64 or bytes, as training reads them."""
    name = next((one for one in names if not is_blank(record.row.get(one))), "")
    if not name:
        return ()
    value = record.row[name]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    values = value if isinstance(value, list) else [value]
    return tuple(_image(record, context, name, one) for one in values)


def _image(record: Record, context: Context, name: str, value: object) -> ImageRef:
    if context.pool is not None and isinstance(value, str) and value.strip() in context.pool:
        return context.pool[value.strip()]
    return image_ref(record, name, value)


def image_named(record: Record, folder: str, names: Sequence[str], field: str) -> ImageRef:
    """The first of the names that is a file in the image folder, else the first, whose absence its reading reports."""
    for name in names:
        if os.path.exists(os.path.join(folder, name)):
            return image_ref(record, field, name)
    return image_ref(record, field, names[0])


def group_of(images: Sequence[ImageRef], otherwise: str) -> str:
    """The group of questions about the same image; `otherwise` for a question without one path."""
    return images[0].path if len(images) == 1 and images[0].path else otherwise
