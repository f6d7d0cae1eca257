"""`eyegraft data convert`: any format that is read into any that is written, and what is lost on the way, counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.convert.image_output import ImageMode, ImageWriter
from data_tools.convert.output_files import check_suffix, write_rows
from data_tools.convert.readers import ConvertInput, UnansweredCount, open_input
from data_tools.convert.writers import FEATURES, WRITERS, joined
from data_tools.progress import count_items
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.formats.conversation import Conversation
from llm.formats.readers import source_format


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What is asked for: a source, the file to write and its format, and where the pictures go."""

    source: Source
    out: Path
    to: str
    annotations: Path | None = None
    copy_images: bool = False
    data_urls: bool = False
    skip: bool = False


@dataclass(slots=True)
class ConvertReport:
    """What became of the rows."""

    wish: ConvertOptions
    format: str
    reason: str
    written: int = 0
    pictures: str = ""  # what to say of where they are
    lost: Counter[str] = field(default_factory=Counter)  # feature -> how often it was left out of a written row
    refused: Counter[str] = field(default_factory=Counter)  # feature -> rows left out for it
    first_refused: Place | None = None
    fields: Counter[str] = field(default_factory=Counter)  # field of no reader -> written rows that had it
    unanswered: UnansweredCount = field(default_factory=UnansweredCount)

    def lines(self) -> list[str]:
        """The account for people."""
        to, out = self.wish.to, self.wish.out
        lines = [f"{self.wish.source.path}: read as {self.format} ({self.reason})"]
        lines.append(f"{out}: {_many(self.written, 'row')} as {to}")
        lines += [f"lost: {FEATURES[name][1]} ({count}): {to} has no place for them" for name, count in _by(self.lost)]
        lines += [f"lost: field {name} of {_many(count, 'row')}" for name, count in _by(self.fields)]
        lines += [f"left out: {_many(count, 'row')} ({FEATURES[name][1]})" for name, count in _by(self.refused)]
        if self.first_refused:
            lines.append(f"the first row left out: {self.first_refused}")
        if self.unanswered.count:
            lines.append(f"left out: {_many(self.unanswered.count, 'row')} marked as unanswered")
        return lines + [line for line in (self.pictures, self._reading()) if line]

    def _reading(self) -> str:
        """How to read the file where `auto` would take it for something else."""
        reader = WRITERS[self.wish.to].reader
        found, _ = source_format(Source(path=str(self.wish.out)), Path())
        return "" if found == reader else f"read it with format: {reader}, since auto takes it for {found}"


def convert(wish: ConvertOptions) -> ConvertReport:
    """Write `wish.out` whole, row by row, and tell what was lost.

    Raises ConfigError for a wish that cannot be obeyed, what the reader raises for a row it refuses, RecordError for
    a row that the format cannot hold unless `skip` leaves it out, ImageError for a picture that is not there and was
    to be copied or put inside, DataError when no row is left.
    """
    way = _check(wish)
    given = open_input(wish.source, wish.annotations)
    account = ConvertReport(wish, given.format, given.reason)
    pictures = ImageWriter(wish.out, given.images, way)
    account.written = write_rows(wish.out, _rows(given, account, pictures), wish.to)
    account.pictures = pictures.advice
    return account


def _check(wish: ConvertOptions) -> ImageMode:
    """Where the pictures go; ConfigError for options that contradict each other or files that would be overwritten."""
    if wish.to not in WRITERS:
        raise ConfigError(f"--to {wish.to}: no such format is written. Known are {', '.join(WRITERS)}")
    check_suffix(wish.out)
    for path in filter(None, (Path(wish.source.path), wish.annotations)):
        if path.exists() and (path.resolve() == wish.out.resolve() or path.resolve() in wish.out.resolve().parents):
            raise ConfigError(f"{wish.out}: the input is there. Write to another place: an input is never changed")
    inside = wish.out.suffix.lower() == ".parquet"
    if wish.data_urls and (wish.to != "openai" or wish.copy_images):
        raise ConfigError("--data-urls is for --to openai alone, without --copy-images")
    if wish.copy_images and inside:
        raise ConfigError("--copy-images: a parquet file holds its pictures inside. Remove the option")
    if wish.data_urls or (inside and wish.to == "openai"):
        return "url"
    return "bytes" if inside else "copy" if wish.copy_images else "name"


def _rows(given: ConvertInput, account: ConvertReport, pictures: ImageWriter) -> Iterator[dict[str, object]]:
    """The rows to write; the account is kept on the way."""
    writer, written = WRITERS[account.wish.to], 0
    for item in count_items(given.items(account.unanswered), account.wish.source.path):
        conversation = joined(item.conversation)
        if features := _has(conversation, writer.refuses):
            _refuse(conversation, account, next(iter(features)))
            continue
        account.lost.update(_has(conversation, writer.loses))
        account.fields.update(item.unread)
        row = writer.write(conversation, pictures.show)
        written += 1
        yield row if item.id is None else {"id": item.id} | row
    if not written:
        found = f"no row is left that {account.wish.to} can hold"
        raise DataError(f"{account.wish.source.path}: {found}. Choose another format with --to")


def _has(conversation: Conversation, features: tuple[str, ...]) -> dict[str, int]:
    counts = {name: FEATURES[name][0](conversation) for name in features}
    return {name: count for name, count in counts.items() if count}


def _refuse(conversation: Conversation, account: ConvertReport, feature: str) -> None:
    """Count a row that is left out, or raise RecordError at it."""
    if account.wish.skip:
        account.refused[feature] += 1
        account.first_refused = account.first_refused or conversation.place
        return
    able = ", ".join(name for name, writer in WRITERS.items() if not _has(conversation, writer.refuses))
    advice = f"Write it as {able}" if able else "No format can hold it"
    found = f"{FEATURES[feature][1]}: {account.wish.to} cannot hold them"
    raise RecordError(conversation.place, "record", found, f"{advice}, or leave such rows out with --skip")


def _by(counts: Counter[str]) -> list[tuple[str, int]]:
    return counts.most_common()


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
