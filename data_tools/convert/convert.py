"""`eyegraft data convert`: any supported input format to any output format, with a report of what is lost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.convert.box_rewriting import rewrite_boxes
from data_tools.convert.image_output import ImageMode, ImageWriter
from data_tools.convert.output_files import check_suffix, write_rows
from data_tools.convert.readers import ConvertInput, open_input
from data_tools.convert.writers import FEATURES, WRITERS, join_texts
from data_tools.progress import count_items
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place, RecordError
from llm.formats.conversation import Conversation
from llm.formats.readers import source_format
from vlm.scores.box_styles import BoxStyle


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """The options of one conversion: `to` is the format, `annotations` the second file of vqav2 and refcoco.

    `copy_images` and `data_urls` say where the images go; `skip` leaves out records that the format cannot hold, and
    those whose boxes cannot be rewritten. `boxes` is the style in which boxes are written, `boxes_from` the one they
    are in.
    """

    source: Source
    out: Path
    to: str
    annotations: Path | None = None
    copy_images: bool = False
    data_urls: bool = False
    skip: bool = False
    boxes: BoxStyle | None = None
    boxes_from: BoxStyle | None = None


@dataclass(slots=True)
class ConvertReport:
    """What became of the records."""

    options: ConvertOptions
    format: str  # of the input
    reason: str  # why the input is taken for that format
    written: int = 0
    image_advice: str = ""  # how the file finds its images, if that takes an option
    missing_images: str = ""
    lost: Counter[str] = field(default_factory=Counter)  # feature -> how often written records lost it
    refused: Counter[str] = field(default_factory=Counter)  # feature -> records left out because of it
    first_refused: Place | None = None
    fields: Counter[str] = field(default_factory=Counter)  # unknown field -> written records that had it
    left_out: Counter[str] = field(default_factory=Counter)  # why training leaves a record out -> how many
    boxes: int = 0  # that were rewritten
    first_unclear: RecordError | None = None  # the first record whose boxes could not be rewritten
    unclear: int = 0  # such records

    def lines(self) -> list[str]:
        """The report as text."""
        to, out = self.options.to, self.options.out
        lines = [f"{self.options.source.path}: read as {self.format} ({self.reason})"]
        lines.append(f"{out}: {_count(self.written, 'record')} as {to}")
        lines += [
            f"lost: {FEATURES[name][1]} ({count}): {to} has no place for them"
            for name, count in _most_common(self.lost)
        ]
        lines += [f"lost: field {name} of {_count(count, 'record')}" for name, count in _most_common(self.fields)]
        lines += [
            f"left out: {_count(count, 'record')} ({FEATURES[name][1]})" for name, count in _most_common(self.refused)
        ]
        if self.first_refused:
            lines.append(f"the first record left out: {self.first_refused}")
        if self.options.boxes:
            lines.append(f"boxes: {self.boxes:,} written as {self.options.boxes}")
        if self.first_unclear:
            lines.append(f"left out: {_count(self.unclear, 'record')} whose boxes could not be rewritten, first:")
            lines.append(f"  {self.first_unclear}")
        lines += [f"left out: {_count(count, 'record')} {reason}" for reason, count in _most_common(self.left_out)]
        return lines + [line for line in (self.missing_images, self.image_advice, self._reader_advice()) if line]

    def _reader_advice(self) -> str:
        """How to read the file if `auto` would take it for another format."""
        reader = WRITERS[self.options.to].reader
        found, _ = source_format(Source(path=str(self.options.out)), Path())
        return "" if found == reader else f"read it with format: {reader}; auto takes it for {found}"


def convert(options: ConvertOptions) -> ConvertReport:
    """Write `options.out` atomically, record by record, and report what was lost.

    Raises ConfigError for options that contradict each other, what the reader raises, RecordError for a record that
    the format cannot hold unless `skip` is set, ImageError for an image that cannot be copied or embedded, DataError
    when no record is left.
    """
    mode = _check(options)
    source = open_input(options.source, options.annotations)
    report = ConvertReport(options, source.format, source.reason)
    images = ImageWriter(options.out, source.images, mode, required=bool(options.source.images))
    report.written = write_rows(options.out, _rows(source, report, images), options.to)
    report.image_advice, report.missing_images = images.advice, images.missing_line
    return report


def _check(options: ConvertOptions) -> ImageMode:
    """Where the images go. ConfigError for options that contradict each other, or an output that is the input."""
    if options.to not in WRITERS:
        raise ConfigError(f"--to {options.to}: is not an output format. Choose from {', '.join(WRITERS)}")
    check_suffix(options.out)
    for path in filter(None, (Path(options.source.path), options.annotations)):
        if path.exists() and (
            path.resolve() == options.out.resolve() or path.resolve() in options.out.resolve().parents
        ):
            raise ConfigError(f"{options.out}: is the input, which is never written to. Choose another output")
    embeds = options.out.suffix.lower() == ".parquet"
    if options.boxes_from and not options.boxes:
        raise ConfigError("--boxes-from: has no effect without --boxes, the style to write. Add it")
    if options.data_urls and (options.to != "openai" or options.copy_images):
        raise ConfigError("--data-urls: needs --to openai without --copy-images. Remove one of the options")
    if options.copy_images and embeds:
        raise ConfigError("--copy-images: a parquet file embeds its images. Remove the option")
    if options.data_urls or (embeds and options.to == "openai"):
        return "url"
    return "bytes" if embeds else "copy" if options.copy_images else "name"


def _rows(source: ConvertInput, report: ConvertReport, images: ImageWriter) -> Iterator[dict[str, object]]:
    """The records to write; counts are added to the report."""
    writer, written = WRITERS[report.options.to], 0
    for record in count_items(source.records(report.left_out), report.options.source.path):
        joined = join_texts(record.conversation)
        conversation = _with_boxes(joined, report)
        if conversation is None:
            continue
        if features := _count_features(conversation, writer.refuses):
            _refuse(conversation, report, next(iter(features)))
            continue
        report.lost.update(_count_features(conversation, writer.loses))
        report.fields.update(record.unread)
        row = writer.write(conversation, images.reference)
        written += 1
        yield row if record.id is None else {"id": record.id} | row
    if not written:
        found = f"no record is left that {report.options.to} can hold"
        raise DataError(f"{report.options.source.path}: {found}. Choose another format with --to")


def _with_boxes(conversation: Conversation, report: ConvertReport) -> Conversation | None:
    """The record with its boxes in the style that was asked for; None for one that is left out."""
    options = report.options
    if options.boxes is None:
        return conversation
    try:
        rewritten, count = rewrite_boxes(conversation, options.boxes, options.boxes_from)
    except RecordError as error:
        if not options.skip:
            raise
        report.unclear += 1
        report.first_unclear = report.first_unclear or error
        return None
    report.boxes += count
    return rewritten


def _count_features(conversation: Conversation, features: tuple[str, ...]) -> dict[str, int]:
    counts = {name: FEATURES[name][0](conversation) for name in features}
    return {name: count for name, count in counts.items() if count}


def _refuse(conversation: Conversation, report: ConvertReport, feature: str) -> None:
    """Count a record that is left out, or raise RecordError."""
    if report.options.skip:
        report.refused[feature] += 1
        report.first_refused = report.first_refused or conversation.place
        return
    able = ", ".join(name for name, writer in WRITERS.items() if not _count_features(conversation, writer.refuses))
    advice = f"Write it as {able}" if able else "No format can hold it"
    found = f"{FEATURES[feature][1]}: {report.options.to} cannot hold them"
    raise RecordError(conversation.place, "record", found, f"{advice}, or leave such records out with --skip")


def _most_common(counts: Counter[str]) -> list[tuple[str, int]]:
    return counts.most_common()


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
