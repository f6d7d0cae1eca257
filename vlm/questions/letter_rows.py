"""Rows of multiple choice: MMBench's TSV and all tables like it, ScienceQA, MMLU's parquet and CSV with names."""

import re
from collections.abc import Sequence
from contextlib import suppress
from string import ascii_uppercase

from llm.errors import RecordError
from llm.formats.conversation import ImageRef
from llm.formats.image_placeholders import image_ref
from llm.records.record import Record, Row
from llm.records.unread_fields import is_blank
from vlm.questions.file_rows import Item
from vlm.questions.question import Question
from vlm.questions.row_reading import (
    GROUP_OF_CIRCLE,
    Context,
    image_named,
    images_of,
    name_of,
    needed,
    record_of,
    word,
)

REFERENCE = 64  # characters of a cell that names another row, as VLMEvalKit has it
_LISTS = ("options", "choices")
_CATEGORIES = ("l2-category", "L2-category", "l2_category", "category", "subject", "topic")
_QUESTION_FILE = re.compile(r"image\.(?:png|jpg|jpeg)")
_LETTER = re.compile(r"[\s(（]*([A-Za-z])[\s).）：:]*")


def has_options(row: Row) -> bool:
    """Whether a row has a question with options, as columns or as a list."""
    asked = any(isinstance(row.get(name), str) for name in ("question", "Question"))
    return asked and (("A" in row and "B" in row) or any(isinstance(row.get(name), list) for name in _LISTS))


def is_examination(row: Row) -> bool:
    """Whether a row of multiple choice is of MMLU's kind: no image, and no index as MMBench's tables have."""
    return (
        has_options(row) and not {"image", "index", "image_path"} & set(row) and not ({"lecture", "skill"} & set(row))
    )


def read_letter_row(record: Record, context: Context) -> Question:
    """A question with its options. An answer may be a letter, or the place of the option counted from 0."""
    options = _options(record)
    index = name_of(record, "index", "question_id", "id", "qid")
    images = _images(record, context)
    group = str(int(index) % GROUP_OF_CIRCLE) if index.isdecimal() and len(index) < 16 else index
    return Question(
        id=index,
        group=group,
        form=record.format,
        text=needed(record, "question"),
        images=images,
        options=options,
        answers=_answer(record, options),
        category=word(record, *_CATEGORIES),
        split=word(record, "split"),
        hint="" if _is_empty(record.row.get("hint")) else word(record, "hint"),
        place=record.place,
    )


def _images(record: Record, context: Context) -> tuple[ImageRef, ...]:
    """The images of a row. A short number that no row has as its index is no path either."""
    cell = record.row.get("image")
    if isinstance(cell, str | int) and (number := str(cell).strip()).isdecimal() and len(number) <= REFERENCE:
        if number in (context.pool or {}):
            return images_of(record, context, "image")
        found = f"refers to the image of row {number}, which is not in the file"
        raise record.error("image", found, "Complete the file, or write the image in base64", "image-missing")
    if isinstance(cell, str) and _QUESTION_FILE.fullmatch(cell):  # ScienceQA's image.png, in a folder of its question
        names = [f"{word(record, 'split')}/{record.place.id}/{cell}", f"{record.place.id}/{cell}", cell]
        return (image_named(record, context.images, names, "image"),)
    return images_of(record, context, "image", "images", "image_path")


def image_pool(items: Sequence[Item], context: Context) -> dict[str, ImageRef]:
    """The images of rows that other rows name by their index, in a cell of at most 64 characters."""
    named = {str(item.row.get("image")).strip() for item in items if _is_reference(item.row.get("image"))}
    found: dict[str, ImageRef] = {}
    for item in items:
        index, cell = str(item.row.get("index", "")).strip(), item.row.get("image")
        if index in named and index not in found and isinstance(cell, str) and not _is_reference(cell):
            with suppress(RecordError):  # reading that row itself reports it
                found[index] = image_ref(record_of(item, "letters", context), "image", cell)
    return found


def _is_reference(cell: object) -> bool:
    return isinstance(cell, str | int) and len(str(cell).strip()) <= REFERENCE and str(cell).strip().isdecimal()


def _options(record: Record) -> dict[str, str]:
    for name in _LISTS:
        value = record.row.get(name)
        if isinstance(value, list):
            texts = [str(one) for one in record.items(name)]
            break
    else:
        filled = [letter for letter in ascii_uppercase if not _is_empty(record.row.get(letter))]
        if filled != list(ascii_uppercase[: len(filled)]):
            found = f"options {', '.join(filled)}, with a gap between them"
            raise record.error("A", found, "Fill the columns from A on", "field-missing")
        texts = [str(record.take(letter)).strip() for letter in filled]
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise record.error("options", f"{len(texts)} options", "Write at least two, and at most 26", "field-missing")
    return dict(zip(ascii_uppercase, texts, strict=False))


def _is_empty(value: object) -> bool:
    """Whether a cell has no option: pandas writes nan for one."""
    return is_blank(value) or value == "nan" or value != value


def _answer(record: Record, options: dict[str, str]) -> tuple[str, ...]:
    value = record.take("answer")
    if _is_empty(value):
        return ()
    if isinstance(value, int) and not isinstance(value, bool):
        letter = ascii_uppercase[value] if 0 <= value < len(options) else ""
    else:
        found = _LETTER.fullmatch(str(value))
        letter = found[1].upper() if found else _same_text(str(value), options)
        if not letter and "A" not in record.row and re.fullmatch("[0-9]{1,2}", str(value)):
            letter = ascii_uppercase[int(str(value))] if int(str(value)) < len(options) else ""
    if letter not in options:
        found_text = f"{str(value)[:40]!r} is none of the options {', '.join(options)}"
        raise record.error("answer", found_text, "Write the letter of an option", "field-type")
    return (letter,)


def _same_text(value: str, options: dict[str, str]) -> str:
    found = [letter for letter, text in options.items() if text.strip() == value.strip()]
    return found[0] if len(found) == 1 else ""
