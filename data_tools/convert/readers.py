"""The inputs of `data convert`: the formats of llm.formats.readers, and data sets of several tables."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_tools.convert.coco import read_coco_captions, read_refcoco
from data_tools.convert.record import Id, InputRecord, TableFiles
from data_tools.convert.vqa import read_easy_vqa, read_vqav2
from llm.config.schema import Source
from llm.errors import ConfigError, RecordError
from llm.files.regular_files import open_data
from llm.formats.readers import READERS, interpret, source_format, source_records
from llm.records.record import Record
from llm.rows.files import read_members, read_rows

TABLES: dict[str, Callable[[TableFiles], Iterator[InputRecord]]] = {
    "coco": read_coco_captions,
    "vqav2": read_vqav2,
    "refcoco": read_refcoco,
    "easy_vqa": read_easy_vqa,
}
"""Data sets of several tables. Training reads them only after conversion."""

_NEEDS_ANNOTATIONS = ("vqav2", "refcoco")


@dataclass(frozen=True, slots=True)
class ConvertInput:
    """An input whose format is known; `records` reads it once and counts by reason what training leaves out."""

    format: str
    reason: str
    images: str  # the absolute folder that holds all its images
    records: Callable[[Counter[str]], Iterator[InputRecord]]


def open_input(source: Source, annotations: Path | None) -> ConvertInput:
    """Find the format of `source`. Raises ConfigError for options without effect, and what reading its start raises."""
    name = source.format if source.format != "auto" or source.columns else detect_tables(Path(source.path))
    if annotations is not None and name not in _NEEDS_ANNOTATIONS:
        raise ConfigError(f"--annotations: only for {' and '.join(_NEEDS_ANNOTATIONS)}. Remove it, or name --format")
    images = _image_root(source, name)
    if name in TABLES:
        tables = TableFiles(Path(source.path), images, annotations, source.split)
        return ConvertInput(name, "by its tables", images, lambda _: TABLES[name](tables))
    if source.format not in (*READERS, "auto"):
        known = ", ".join((*READERS, *TABLES))
        raise ConfigError(f"{source.path}: format {source.format} is not an input format. Choose from auto, {known}")
    return ConvertInput(*source_format(source, Path()), images, lambda left_out: _read(source, left_out))


def _image_root(source: Source, name: str) -> str:
    path = Path(source.path)
    if source.images:
        return os.path.abspath(Path(source.images).expanduser())
    folder = path if path.is_dir() else path.parent
    return os.path.abspath(folder / "images" if name == "easy_vqa" else folder)


def detect_tables(path: Path) -> str:
    """A name of TABLES, recognised by keys that no other format has; otherwise empty."""
    if path.is_dir():
        return "easy_vqa" if (path / "questions.json").is_file() and (path / "images").is_dir() else ""
    if path.suffix.lower() != ".json" or not path.is_file():
        return ""
    try:
        _, row = next(read_rows(path), (None, None)) if _starts_with_list(path) else (None, None)
        if isinstance(row, dict) and {"ref_id", "sentences"} <= set(row):
            return "refcoco"
        return next((name for name in map(_format_of_member, _members(path)) if name), "")
    except RecordError:
        return ""  # broken, or several records; reading it raises


def _starts_with_list(path: Path) -> bool:
    with open_data(path) as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _members(path: Path) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, _, value in read_members(path))


def _format_of_member(member: tuple[str, object]) -> str:
    name, value = member
    if not isinstance(value, dict):
        return ""
    if name == "questions" and {"question_id", "image_id"} <= set(value):
        return "vqav2"
    return "coco" if name == "annotations" and {"image_id", "caption"} <= set(value) else ""


def _read(source: Source, left_out: Counter[str]) -> Iterator[InputRecord]:
    for record in source_records(source, Path()):
        reading = interpret(record)
        if reading.conversation is None:
            left_out[reading.reason] += 1
            continue
        unread = tuple({field.name: None for field in reading.unread})
        yield InputRecord(reading.conversation, _id(record), unread)


def _id(record: Record) -> Id | None:
    value = record.row.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None
