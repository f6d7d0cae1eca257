"""All data formats: how their rows are recognised and become conversations.

`READERS` lists them; for rows that fit several formats `detect` takes the first.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.files.windows_paths import windows_advice
from llm.formats.chat_turns import (
    fits_llava,
    fits_oasst1,
    fits_swift,
    fits_text,
    fits_xtuner,
    read_llava,
    read_oasst1,
    read_sharegpt,
    read_swift,
    read_text,
    read_wizardlm,
    read_xtuner,
)
from llm.formats.columns import (
    ALPACA,
    ALPACA_ZH,
    ARXIV,
    DOLLY,
    LAW_REFERENCE,
    OPENORCA,
    QUERY,
    SQL,
    STACK_EXCHANGE,
    TINY_CODES,
    ColumnFormat,
    check_column_names,
    check_columns,
    read_colors,
    read_columns,
    read_law,
)
from llm.formats.conversation import Conversation, Message, check_conversation
from llm.formats.gemini import fits_gemini, read_gemini
from llm.formats.hub_data import data_path, images_path
from llm.formats.image_datasets import fits_cauldron, fits_imagefolder, read_cauldron, read_imagefolder
from llm.formats.openai_messages import fits_openai, read_openai
from llm.formats.preference_pairs import (
    fits_preference,
    fits_prompt_completion,
    read_preference,
    read_prompt_completion,
)
from llm.formats.question_rows import fits_qa, read_qa
from llm.formats.reading import Reading, ReadingReport, why_left_out
from llm.formats.refused_formats import refused_format
from llm.formats.tool_calls import read_moss, with_tools
from llm.formats.turns.grounding import with_objects
from llm.formats.video_fields import with_videos
from llm.log import logger
from llm.records.record import Record, Row, kind
from llm.records.unread_fields import media_error, unread_fields
from llm.rows.files import SUFFIXES, Report, raw_rows
from llm.rows.hub import is_hub_name, read_hub
from llm.rows.raw_row import RawRow

SEEN = 100  # rows from which `auto` detects the format
NO_RECORD = "no record to train on. Correct the path or remove the source"


Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: how a row becomes messages (none for a row marked as unanswered), and which rows fit it."""

    messages: Callable[[Record], Messages]
    shape: str
    fits: Callable[[Row], bool]
    takes_videos: bool = True

    def read(self, record: Record) -> Messages:
        """The messages, with what any format may have beside them: videos, tools in the system prompt, and boxes."""
        messages = self.messages(record)
        if self.takes_videos:
            messages = with_videos(record, messages)
        return with_objects(record, with_tools(record, messages))


def _never(row: Row) -> bool:
    """For formats whose rows look like those of another: `auto` never detects them."""
    return False


def _table(table: ColumnFormat) -> Reader:
    return Reader(table.read, table.shape, table.fits)


def _fits_moss(row: Row) -> bool:
    chat = row.get("chat")
    turn = chat.get("turn_1") if isinstance(chat, dict) else None
    return isinstance(turn, dict) and "Human" in turn


READERS: dict[str, Reader] = {
    "preference": Reader(read_preference, "chosen and rejected answers", fits_preference),
    "openai": Reader(read_openai, "messages with role and content", fits_openai),
    "gemini": Reader(read_gemini, "contents with parts", fits_gemini),
    "llava": Reader(read_llava, "conversations with from and value", fits_llava),
    "cauldron": Reader(read_cauldron, "texts with user and assistant", fits_cauldron),
    "swift": Reader(read_swift, "conversation turns with human and assistant", fits_swift),
    "xtuner": Reader(read_xtuner, "conversation turns with input and output", fits_xtuner),
    "moss": Reader(read_moss, "a chat with turn_1 and Human", _fits_moss),
    "alpaca": _table(ALPACA),
    "alpaca_zh": _table(ALPACA_ZH),
    "dolly": _table(DOLLY),
    "openorca": _table(OPENORCA),
    "sql": _table(SQL),
    "law": Reader(read_law, LAW_REFERENCE.shape, LAW_REFERENCE.fits),
    "code_alpaca": Reader(read_prompt_completion, "columns prompt, completion", fits_prompt_completion),
    "tiny_codes": _table(TINY_CODES),
    "stack_exchange": _table(STACK_EXCHANGE),
    "query": _table(QUERY),
    "qa": Reader(read_qa, "columns question, answer", fits_qa),
    "arxiv": _table(ARXIV),
    "colors": Reader(read_colors, "columns description, color", lambda row: {"description", "color"} <= set(row)),
    "imagefolder": Reader(read_imagefolder, "an image's name and text", fits_imagefolder),
    "oasst1": Reader(read_oasst1, "text that begins with ### Human:", fits_oasst1),
    "text": Reader(read_text, "text", fits_text),
    "sharegpt": Reader(read_sharegpt, "conversations with from and value, without images", _never, takes_videos=False),
    "wizardlm": Reader(read_wizardlm, "conversations, or instruction and output", _never),
    "medical": Reader(ALPACA.read, ALPACA.shape, _never),
    "columns": Reader(read_columns, "columns named in the recipe", _never),
}


_KEYS = {
    "conversations": "llava",
    "messages": "openai",
    "conversation": "xtuner",
    "chosen": "preference",
    "instruction": "alpaca",
    "text": "text",
}
"""Keys that suggest a format for a row that fits none."""


def detect(rows: Iterable[tuple[Place, object]]) -> tuple[str, str]:
    """(format, reason) from the first rows: the first format that all of them fit.

    Raises DataError when there are no rows, RecordError at the first row that no format fits, or none of those that fit
    the rows before it.
    """
    fitting = list(READERS)
    seen = 0
    for place, row in islice(rows, SEEN):
        row = as_object(place, row)
        left = [name for name in fitting if READERS[name].fits(row)]
        if not left:
            raise _unknown(place, row, fitting if seen else [])
        fitting, seen = left, seen + 1
    if not seen:
        raise DataError(NO_RECORD)
    many = "the only row has" if seen == 1 else f"the first {seen} rows have"
    return fitting[0], f"{many} {READERS[fitting[0]].shape}"


def guess_format(source: Source, rows: Sequence[object]) -> str:
    """The format of a source with possibly invalid rows: the one that most of the rows fit.

    If none fits, the one suggested by their keys, or else empty. Raises ConfigError as `read`.
    """
    chosen = _choose(source)
    if chosen:
        check_column_names(source, rows)
        return chosen[0]
    objects = [found for row in rows if (found := _object_or_none(row)) is not None]
    counts = {name: sum(reader.fits(row) for row in objects) for name, reader in READERS.items()}
    best = max(counts, key=lambda name: counts[name])  # the first of equals, as in `detect`
    if counts[best]:
        return best
    return next((name for key, name in _KEYS.items() if any(key in row for row in objects)), "")


def format_mismatch(record: Record) -> RecordError | None:
    """The error of a row that does not fit the format it is read as, if it fits another or has no format."""
    if record.format and READERS[record.format].fits(record.row):
        return None
    if record.format and not any(reader.fits(record.row) for reader in READERS.values()):
        return None
    return _unknown(record.place, record.row, [record.format] if record.format else [])


def source_format(source: Source, base: Path) -> tuple[str, str]:
    """(format, reason) of a source, for the log. Raises what `read` raises before its first conversation."""
    chosen = _choose(source)
    if chosen and not source.columns:
        return chosen
    rows = list(islice(_valid_rows(source, base, report=_ignore), SEEN))
    if not rows:
        raise DataError(f"{source.path}: {NO_RECORD}")
    if chosen:
        check_column_names(source, [row for _, row in rows])
    return chosen or detect(rows)


def interpret(record: Record) -> Reading:
    """The record as training reads it: the one place where a record becomes a conversation, in any command.

    Raises RecordError for an invalid record, and for one with media in a field that its reader does not take.
    """
    messages = READERS[record.format].read(record)
    reason = why_left_out(record, messages)
    if reason:
        return Reading(None, reason=reason)
    conversation = Conversation(messages, record.place)
    names = [*(image.path for image in conversation.images), *(video.path for video in conversation.videos)]
    unread = unread_fields(record, names)
    media = next((field for field in unread if field.kind == "media"), None)
    if media is not None and not {"image", "video"} & set(record.columns):  # a recipe that maps one chooses
        raise media_error(record, media)
    check_conversation(conversation)
    return Reading(conversation, unread)


def read(source: Source, base: Path, warn: Report = logger.warning) -> Iterator[Conversation]:
    """Yield every conversation of a source, checked; relative paths are resolved against `base`.

    Raises ConfigError for an invalid source, DataError when it has no record, RecordError at the first invalid row.
    Rows that are left out, and fields with text that no reader took, are counted; `warn` gets a line on each at the
    end. Weights are not applied here.
    """
    report = ReadingReport(source.path)
    for record in source_records(source, base, warn):
        reading = interpret(record)
        report.add(record, reading)
        if reading.conversation is not None:
            yield reading.conversation
    report.log(warn)
    if not report.conversations:
        raise DataError(f"{source.path}: {NO_RECORD}")


def source_records(source: Source, base: Path, warn: Report = logger.warning) -> Iterator[Record]:
    """Yield every row of a source as a Record; `warn` as in `raw_rows`."""
    name, _ = source_format(source, base)
    file = folder = ""
    for place, row in _valid_rows(source, base, warn):
        if place.file != file:
            file, folder = place.file, image_folder(source, base, place)
        yield Record(place, as_object(place, row), name, folder, source.columns)


def record_of(source: Source, base: Path, place: Place, row: object, name: str) -> Record:
    """A row as a Record of the format `name`. Raises RecordError for a row that is not an object."""
    return Record(place, as_object(place, row), name, image_folder(source, base, place), source.columns)


def image_folder(source: Source, base: Path, place: Place) -> str:
    """The folder that image paths of a record are relative to, as an absolute path."""
    return os.path.abspath(images_path(source.images, base) if source.images else os.path.dirname(place.file))


def _choose(source: Source) -> tuple[str, str] | None:
    """The format the recipe names, or None for auto."""
    if source.format not in (*READERS, "auto"):
        raise ConfigError(f"{source.path}: format: {source.format} is unknown. Known are auto, {', '.join(READERS)}")
    if source.columns and source.format not in ("auto", "columns"):
        raise ConfigError(f"{source.path}: columns need format: columns, not {source.format}. Remove one of the two")
    if source.columns or source.format == "columns":
        check_columns(source)
        return "columns", "columns are given in the recipe"
    return None if source.format == "auto" else (source.format, "format is given in the recipe")


def _ignore(line: str) -> None:
    """For rows that are read to find the format: reading them for training reports."""


def _valid_rows(source: Source, base: Path, report: Report = logger.warning) -> Iterator[tuple[Place, object]]:
    for row in source_rows(source, base, report):
        if row.error is not None:
            raise row.error
        yield row.place, row.value


def source_rows(source: Source, base: Path, report: Report = logger.warning) -> Iterator[RawRow]:
    """Yield every row of a source, valid or not; `report` as in `raw_rows`. Raises ConfigError without the source."""
    local = data_path(source.path, base, source.split)
    if source.path.strip() and local.exists():
        return raw_rows(local, source.split, report)
    first = base / source.path.partition("/")[0]
    # A name in an existing folder, or with the suffix of a data file, is a mistyped path and not looked up on the hub.
    if is_hub_name(source.path) and not first.is_dir() and local.suffix.lower() not in SUFFIXES:
        return (RawRow(place, row) for place, row in read_hub(source.path, source.split))
    advice = windows_advice(source.path) or "Correct the path"
    raise ConfigError(f"{source.path}: no such file or folder ({local}). {advice}")


def _object_or_none(row: object) -> Row | None:
    """A row as an object; None for one that cannot be read as such."""
    if isinstance(row, dict):
        return row
    first = row[0] if isinstance(row, list) and row else None
    if isinstance(first, dict) and "role" in first:
        return {"messages": row}
    return {"conversations": row} if isinstance(first, dict) and "from" in first else None


def as_object(place: Place, row: object) -> Row:
    """A row as an object: a list of turns is a conversation. RecordError for anything else."""
    found = _object_or_none(row)
    if found is not None:
        return found
    advice = 'Write every record as {"name": value, ...}, or as a list of messages'
    raise RecordError(place, "record", f"is {kind(row)}, not an object", advice, "row-type")


def _unknown(place: Place, row: Row, before: list[str]) -> RecordError:
    refused = refused_format(row)
    if refused:
        return RecordError(place, "format", *refused, "format-refused")
    keys = ", ".join(row) if row else "none"
    if before:
        found = f"keys {keys}, while the rows before it are {before[0]}"
        advice = "Correct the record, or split the formats into files of their own"
        return RecordError(place, "format", found, advice, "format-mixed")
    advice = f"Name the format ({', '.join(READERS)}), or map the columns: columns: {{input: ..., output: ...}}"
    return RecordError(place, "format", f"no known format has the keys {keys}", advice, "format-unknown")
