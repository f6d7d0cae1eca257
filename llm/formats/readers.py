"""Every format Eyegraft reads: what its rows look like and how one becomes a conversation.

`READERS` is the table. The order matters to `detect` alone: where rows fit several formats the first one wins.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.formats.chat_turns import (
    fits_llava,
    fits_oasst1,
    fits_text,
    fits_xtuner,
    read_llava,
    read_oasst1,
    read_sharegpt,
    read_text,
    read_wizardlm,
    read_xtuner,
)
from llm.formats.columns import (
    ALPACA,
    ALPACA_ZH,
    ARXIV,
    CODE_ALPACA,
    LAW_REFERENCE,
    OPENORCA,
    SQL,
    STACK_EXCHANGE,
    TINY_CODES,
    ColumnFormat,
    check_columns,
    read_colors,
    read_columns,
    read_law,
)
from llm.formats.conversation import Conversation, Message, check_conversation
from llm.formats.hub import is_hub_name, read_hub
from llm.formats.image_datasets import fits_cauldron, fits_imagefolder, read_cauldron, read_imagefolder
from llm.formats.openai_messages import fits_openai, read_openai
from llm.formats.preference_pairs import PreferencePair, fits_preference, read_pair, read_preference
from llm.formats.row_files import SUFFIXES, RawRow, Record, Row, kind, raw_rows
from llm.formats.tool_calls import read_moss
from llm.log import logger

SEEN = 100  # rows that `auto` looks at
NO_RECORD = "no record to train on. Correct the path or remove the source"


@dataclass(frozen=True, slots=True)
class Reader:
    """One format: a row becomes messages (none when the row says that it has no answer), and how to know its rows."""

    read: Callable[[Record], tuple[Message, ...]]
    shape: str
    fits: Callable[[Row], bool]


def _never(row: Row) -> bool:
    """For formats whose rows look like another's: they are named in the recipe or not used."""
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
    "llava": Reader(read_llava, "conversations with from and value", fits_llava),
    "cauldron": Reader(read_cauldron, "texts with user and assistant", fits_cauldron),
    "xtuner": Reader(read_xtuner, "conversation turns with input and output", fits_xtuner),
    "moss": Reader(read_moss, "a chat with turn_1 and Human", _fits_moss),
    "alpaca": _table(ALPACA),
    "alpaca_zh": _table(ALPACA_ZH),
    "openorca": _table(OPENORCA),
    "sql": _table(SQL),
    "law": Reader(read_law, LAW_REFERENCE.shape, LAW_REFERENCE.fits),
    "code_alpaca": _table(CODE_ALPACA),
    "tiny_codes": _table(TINY_CODES),
    "stack_exchange": _table(STACK_EXCHANGE),
    "arxiv": _table(ARXIV),
    "colors": Reader(read_colors, "columns description, color", lambda row: {"description", "color"} <= set(row)),
    "imagefolder": Reader(read_imagefolder, "a picture's name and text", fits_imagefolder),
    "oasst1": Reader(read_oasst1, "text that begins with ### Human:", fits_oasst1),
    "text": Reader(read_text, "text", fits_text),
    "sharegpt": Reader(read_sharegpt, "conversations with from and value, text alone", _never),
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
"""Keys that tell what a row was meant to be when it fits nothing."""


def detect(rows: Iterable[tuple[Place, object]]) -> tuple[str, str]:
    """(format, reason) from the first rows: the first format that every one of them fits.

    Raises DataError when there are no rows, RecordError at the first row that no format fits or that breaks the rule.
    """
    fitting = list(READERS)
    seen = 0
    for place, row in islice(rows, SEEN):
        row = _object(place, row)
        left = [name for name in fitting if READERS[name].fits(row)]
        if not left:
            raise _unknown(place, row, fitting if seen else [])
        fitting, seen = left, seen + 1
    if not seen:
        raise DataError(NO_RECORD)
    many = "the only row has" if seen == 1 else f"the first {seen} rows have"
    return fitting[0], f"{many} {READERS[fitting[0]].shape}"


def guess_format(source: Source, rows: Sequence[object]) -> str:
    """The format of a source some of whose first rows may be broken: the one that most of them fit.

    Where none fits, the one whose keys they have; empty when they have none of any. Raises ConfigError as `read` does.
    """
    chosen = _choose(source)
    if chosen:
        return chosen[0]
    objects = [row for row in rows if isinstance(row, dict)]
    counts = {name: sum(reader.fits(row) for row in objects) for name, reader in READERS.items()}
    best = max(counts, key=lambda name: counts[name])  # the first of equals, as in `detect`
    if counts[best]:
        return best
    return next((name for key, name in _KEYS.items() if any(key in row for row in objects)), "")


def format_mismatch(record: Record) -> RecordError | None:
    """The error of a row that another format fits and its own does not, or that none does."""
    if record.format and READERS[record.format].fits(record.row):
        return None
    if record.format and not any(reader.fits(record.row) for reader in READERS.values()):
        return None
    return _unknown(record.place, record.row, [record.format] if record.format else [])


def source_format(source: Source, base: Path) -> tuple[str, str]:
    """(format, reason) of a source, for printing. Raises what `read` would raise before its first conversation."""
    chosen = _choose(source)
    if chosen:
        return chosen
    rows = list(islice(_whole_rows(source, base), SEEN))
    if not rows:
        raise DataError(f"{source.path}: {NO_RECORD}")
    return detect(rows)


def read(source: Source, base: Path) -> Iterator[Conversation]:
    """Every conversation of a source, checked; relative paths are resolved against `base`.

    Raises ConfigError for a source that cannot be obeyed, DataError when it holds nothing, RecordError at the first
    row that breaks a law. Rows that say themselves that they have no answer are left out and counted in the log.
    Weights are not applied here.
    """
    skipped: list[Place] = []
    count = 0
    for record in source_records(source, base):
        messages = READERS[record.format].read(record)
        if not messages:
            skipped.append(record.place)
            continue
        conversation = Conversation(messages, record.place)
        check_conversation(conversation)
        count += 1
        yield conversation
    if skipped:
        logger.warning("%s: left out %d rows marked as unanswered, first %s", source.path, len(skipped), skipped[0])
    if not count:
        raise DataError(f"{source.path}: {NO_RECORD}")


def read_pairs(source: Source, base: Path) -> Iterator[PreferencePair]:
    """Every preference pair of a source; SFT has no use for it, preference training will."""
    return (read_pair(record) for record in source_records(source, base))


def source_records(source: Source, base: Path) -> Iterator[Record]:
    """Every row of a source as its reader sees it."""
    name, _ = source_format(source, base)
    for place, row in _whole_rows(source, base):
        yield record_of(source, base, place, row, name)


def record_of(source: Source, base: Path, place: Place, row: object, name: str) -> Record:
    """A row as the reader `name` sees it. Raises RecordError for one that is no object."""
    return Record(place, _object(place, row), name, image_folder(source, base, place), source.columns)


def image_folder(source: Source, base: Path, place: Place) -> str:
    """What a record's image paths are relative to, as an absolute path."""
    return os.path.abspath(base / Path(source.images).expanduser() if source.images else os.path.dirname(place.file))


def _choose(source: Source) -> tuple[str, str] | None:
    """The format the recipe names, or None for auto."""
    if source.format not in (*READERS, "auto"):
        raise ConfigError(f"{source.path}: format: {source.format} is not read. Known are auto, {', '.join(READERS)}")
    if source.columns and source.format not in ("auto", "columns"):
        raise ConfigError(f"{source.path}: columns are for format: columns, not {source.format}. Remove one of the two")
    if source.columns or source.format == "columns":
        check_columns(source)
        return "columns", "the recipe names the columns"
    return None if source.format == "auto" else (source.format, "the recipe names it")


def _whole_rows(source: Source, base: Path) -> Iterator[tuple[Place, object]]:
    for row in source_rows(source, base):
        if row.error is not None:
            raise row.error
        yield row.place, row.value


def source_rows(source: Source, base: Path) -> Iterator[RawRow]:
    """Every row of a source as it lies there, whole or broken. Raises ConfigError where there is no such source."""
    local = base / Path(source.path).expanduser()
    if source.path.strip() and local.exists():
        return raw_rows(local)
    first = base / source.path.partition("/")[0]
    # A name under a folder that exists, or with the suffix of a file, is a mistyped path: the hub is not asked.
    if is_hub_name(source.path) and not first.is_dir() and local.suffix.lower() not in SUFFIXES:
        return (RawRow(place, row) for place, row in read_hub(source.path, source.split))
    raise ConfigError(f"{source.path}: there is no such file or folder ({local}). Correct the path")


def _object(place: Place, row: object) -> Row:
    if isinstance(row, dict):
        return row
    advice = 'Write every record as {"name": value, ...}'
    raise RecordError(place, "record", f"is {kind(row)}, not an object", advice, "row-type")


def _unknown(place: Place, row: Row, before: list[str]) -> RecordError:
    keys = ", ".join(row) if row else "none"
    if before:
        found = f"keys {keys}, while the rows before it are {before[0]}"
        advice = "Correct the record, or split the formats into files of their own"
        return RecordError(place, "format", found, advice, "format-mixed")
    advice = f"Name the format ({', '.join(READERS)}), or map the columns: columns: {{input: ..., output: ...}}"
    return RecordError(place, "format", f"no known format has the keys {keys}", advice, "format-unknown")
