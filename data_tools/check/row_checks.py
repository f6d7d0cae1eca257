"""Checks of one record without its images: it is read as training reads it, then checked for likely mistakes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_tools.check.box_checks import box_faults
from data_tools.check.findings import Finding, of_error
from data_tools.check.rules import CheckRules, CheckState
from data_tools.check.seen_hashes import SeenHashes, hash64
from data_tools.check.text_checks import literal_tokens, token_pattern
from llm.config.schema import Source
from llm.errors import ImageError, RecordError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, VideoRef
from llm.formats.pairs.pair_reading import PAIRED, interpret_labelled, interpret_pair
from llm.formats.readers import SEEN, format_mismatch, image_folder, interpret, record_of
from llm.formats.reading import UNANSWERED, Reading
from llm.records.record import Record
from llm.records.unread_fields import UnreadField
from llm.rows.raw_row import RawRow
from vlm.vision.images import upright_size

LEFT_OUT = ("unanswered", "bad-answer")
UNEVEN, LONG = 10, 200  # an answer so many times as long as the other, and of so many characters, is reported


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A record, its findings so far, and its conversation if it could be read. `row` as in `RowFindings`.

    `root` is the folder that its image paths are relative to.
    """

    row: int
    raw: RawRow
    root: str
    findings: tuple[Finding, ...] = ()
    conversation: Conversation | None = None

    @property
    def left_out(self) -> bool:
        """Whether training leaves the record out without an error."""
        return any(finding.code in LEFT_OUT for finding in self.findings)

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """The images of the conversation; none if the record could not be read."""
        return self.conversation.images if self.conversation else ()

    @property
    def media(self) -> tuple[ImageRef | VideoRef, ...]:
        """Its images, then its videos."""
        return (*self.images, *(self.conversation.videos if self.conversation else ()))


@dataclass(slots=True)
class RowChecker:
    """Checks the records of one source in their order, and adds them to `state` unless they are held out."""

    source: Source
    base: Path
    format: str
    rules: CheckRules
    state: CheckState
    held_out: bool = False
    ids: SeenHashes = field(default_factory=SeenHashes)
    image_names: SeenHashes = field(default_factory=SeenHashes)  # sound images of this side, by name
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.pattern = token_pattern(self.rules.tokens)
        if not self.held_out:
            self.image_names = self.state.image_names

    def read(self, row: int, raw: RawRow) -> ParsedRow:
        """Parse and check one record; what keeps it from being read becomes a finding."""
        parsed = ParsedRow(row, raw, image_folder(self.source, self.base, raw.place))
        if raw.error is not None:
            return replace(parsed, findings=(of_error(raw.error, row),))
        try:
            reading, sides = self._reading(row, raw)
        except RecordError as error:
            return replace(parsed, findings=(of_error(error, row),))
        if reading.conversation is None:
            return replace(parsed, findings=(_left_out(row, raw, reading.reason),))
        unread = (_unread(row, raw, one) for one in reading.unread if one.kind != "label")
        warnings = (*unread, *self._warnings(row, raw, sides))
        return replace(parsed, findings=warnings, conversation=reading.conversation)

    def _reading(self, row: int, raw: RawRow) -> tuple[Reading, tuple[Conversation, ...]]:
        """Read a record as training does, and encode it if the rules say how; also all conversations in it."""
        record = record_of(self.source, self.base, raw.place, raw.value, self.format)
        other = format_mismatch(record) if self.source.format == "auto" and not self.source.columns else None
        if other and (row <= SEEN or not self.format):
            raise other
        try:
            reading, sides = self._interpreted(record)
        except RecordError as error:
            raise other or error from None
        if self.rules.encode is not None:
            try:
                for side in sides:
                    self.rules.encode(side)
            except TemplateError as error:
                advice = "Change the text, or choose another data.template"
                raise RecordError(raw.place, "template", str(error), advice, "template") from error
        return reading, sides

    def _interpreted(self, record: Record) -> tuple[Reading, tuple[Conversation, ...]]:
        """The reading of a record by what the rules say of answers, and its conversations: of a pair, both."""
        answers, paired = self.rules.answers, record.format == PAIRED
        if answers == "pairs" or (paired and answers != "chosen"):
            pair, unread = interpret_pair(record, self.rules.margin)
            return Reading(pair.chosen, unread), (pair.chosen, pair.rejected)
        if answers == "labels":
            labelled, unread = interpret_labelled(record)
            return Reading(labelled.conversation, unread), (labelled.conversation,)
        reading = interpret(record)
        return reading, () if reading.conversation is None else (reading.conversation,)

    def _warnings(self, row: int, raw: RawRow, sides: tuple[Conversation, ...]) -> Iterator[Finding]:
        texts = {(field_, token): None for side in sides for field_, token in literal_tokens(side, self.pattern)}
        for field_, token in texts:
            advice = "It is trained on as text, not as the token: remove it unless that is intended"
            yield Finding("token-literal", raw.place, row, field_, f"{token!r} typed as text", advice)
        faults = [fault for side in sides for fault in box_faults(side, self.rules.boxes, self._size_of)]
        for fault in dict.fromkeys(faults):
            yield Finding(fault.code, raw.place, row, fault.field, fault.found, fault.advice)
        if len(sides) > 1:
            yield from _uneven_lengths(row, raw, *sides)
        yield from self._repetitions(row, raw, sides)

    def _size_of(self, image: ImageRef) -> tuple[int, int] | None:
        """Width and height of an image; None where images are not opened, or this one cannot be."""
        if self.rules.images == "off":
            return None
        try:
            return upright_size(image, self.rules.limits)
        except ImageError:
            return None  # the check of the images reports it

    def _repetitions(self, row: int, raw: RawRow, sides: tuple[Conversation, ...]) -> Iterator[Finding]:
        name = raw.value.get("id") if isinstance(raw.value, dict) else None
        if isinstance(name, str | int) and name != "":
            first = self.ids.first(hash64(str(name)), row)
            if first != row:
                advice = "Give every record an id of its own, or none"
                found = f"{name!r} is also the id of record {first}"
                yield Finding("id-duplicate", raw.place, row, "id", found, advice)
        key, number = _key(sides), self.state.records + row
        if self.held_out:
            if key in self.state.conversations:
                advice = "Remove it from one of the two: the model must not have seen validation records"
                yield Finding("row-leak", raw.place, row, "record", "is in the training data too", advice)
            return
        first = self.state.conversations.first(key, number)
        if first != number:
            earlier = first - self.state.records
            where = f"record {earlier}" if earlier > 0 else "a record of an earlier source"
            advice = "Remove it, unless it is to be trained on twice"
            yield Finding("row-duplicate", raw.place, row, "record", f"repeats {where}", advice)


def _left_out(row: int, raw: RawRow, reason: str) -> Finding:
    if reason == UNANSWERED:
        advice = "Training leaves the record out: write the answer to train on it"
        return Finding("unanswered", raw.place, row, "answer", "marked as having no answer", advice)
    advice = "Training leaves the record out: remove the label to train on it"
    return Finding("bad-answer", raw.place, row, "label", reason, advice)


def _unread(row: int, raw: RawRow, field_: UnreadField) -> Finding:
    found = f"holds {field_.media}, and is not read" if field_.media else "is not read"
    advice = "It is not trained on: move it to a field that the format reads, or remove it"
    return Finding("field-unread", raw.place, row, field_.path, found, advice)


def _uneven_lengths(row: int, raw: RawRow, chosen: Conversation, rejected: Conversation) -> Iterator[Finding]:
    """A finding about a pair of which one answer is many times as long as the other: length is what it teaches."""
    lengths = {"chosen": len(chosen.messages[-1].text), "rejected": len(rejected.messages[-1].text)}
    longer = max(lengths, key=lambda side: lengths[side])
    least, most = sorted(lengths.values())
    if most < LONG or most < UNEVEN * least:
        return
    found = f"the {longer} answer has {most:,} characters, the other {least:,}"
    advice = "Such pairs teach a length: keep them only if that is meant"
    yield Finding("pair-length", raw.place, row, longer, found, advice)


def _key(sides: tuple[Conversation, ...]) -> int:
    """A hash of roles, loss flags, texts and images of a record's conversations."""
    parts: list[str | bytes] = []
    for message in (message for side in sides for message in side.messages):
        parts.append(message.role if message.loss else f"{message.role} unlearnt")
        parts += [part if isinstance(part, str) else part.data or f"\0{part.path}" for part in message.parts]
    return hash64(*parts)
