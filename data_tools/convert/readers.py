"""The inputs of `data convert`: the formats of llm.formats.readers, and data sets of several tables."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.convert.coco import read_coco_captions, read_refcoco
from data_tools.convert.record import Id, InputRecord, TableFiles
from data_tools.convert.vqa import read_easy_vqa, read_vqav2
from llm.config.schema import Source
from llm.errors import ConfigError, RecordError
from llm.files.regular_files import open_data
from llm.formats.conversation import Conversation, check_conversation
from llm.formats.readers import READERS, source_format, source_records
from llm.formats.row_files import Record, Row, read_members, read_rows

TABLES: dict[str, Callable[[TableFiles], Iterator[InputRecord]]] = {
    "coco": read_coco_captions,
    "vqav2": read_vqav2,
    "refcoco": read_refcoco,
    "easy_vqa": read_easy_vqa,
}
"""Data sets of several tables. Training reads them only after conversion."""

_NEEDS_ANNOTATIONS = ("vqav2", "refcoco")


@dataclass(slots=True)
class UnansweredCount:
    """How many records are marked as having no answer."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class ConvertInput:
    """An input whose format is known; `records` reads it once and counts unanswered ones."""

    format: str
    reason: str
    images: str  # the absolute folder that holds all its images
    records: Callable[[UnansweredCount], Iterator[InputRecord]]


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
    return ConvertInput(*source_format(source, Path()), images, lambda unanswered: _read(source, unanswered))


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


def _read(source: Source, unanswered: UnansweredCount) -> Iterator[InputRecord]:
    for record in source_records(source, Path()):
        row = _TrackedRow(record.row)
        messages = READERS[record.format].read(replace(record, row=row))
        if not messages:
            unanswered.count += 1
            continue
        conversation = Conversation(messages, record.place)
        check_conversation(conversation)
        yield InputRecord(conversation, _id(record), row.unread())


def _id(record: Record) -> Id | None:
    value = record.row.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


class _TrackedRow(Mapping[str, object]):
    """A record that remembers which of its fields were read."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._read = {"id"}

    def __getitem__(self, key: str) -> object:
        self._read.add(key)
        return self._row[key]

    def __contains__(self, key: object) -> bool:
        return key in self._row

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def unread(self) -> tuple[str, ...]:
        """Fields with a value that were not read."""
        filled = (key for key, value in self._row.items() if value not in (None, "", [], {}))
        return tuple(key for key in filled if key not in self._read)
