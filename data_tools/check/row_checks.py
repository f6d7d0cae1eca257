"""One row judged without its pictures: read as training reads it, then looked at for what training cannot see."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_tools.check.findings import Finding, of_error
from data_tools.check.rules import CheckRules, CheckState
from data_tools.check.seen_hashes import SeenHashes, hash64
from data_tools.check.text_checks import literal_tokens, pixel_boxes, token_pattern
from llm.config.schema import Source
from llm.errors import RecordError, TemplateError
from llm.formats.conversation import Conversation, check_conversation
from llm.formats.readers import READERS, SEEN, format_mismatch, image_folder, record_of
from llm.formats.row_files import RawRow


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A row, what was found so far, and the conversation it is where it can be read.

    `row` counts from 1; 0 stands for what is wrong with the file between its rows.
    """

    row: int
    raw: RawRow
    root: str
    findings: tuple[Finding, ...] = ()
    conversation: Conversation | None = None


@dataclass(slots=True)
class RowChecker:
    """Judges the rows of one source in turn; what it has met goes into `memory`."""

    source: Source
    base: Path
    format: str
    rules: CheckRules
    memory: CheckState
    held_out: bool = False
    ids: SeenHashes = field(default_factory=SeenHashes)
    images: SeenHashes = field(default_factory=SeenHashes)  # sound pictures by name
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.pattern = token_pattern(self.rules.tokens)
        if not self.held_out:
            self.images = self.memory.images

    def read(self, row: int, raw: RawRow) -> ParsedRow:
        """The row as a conversation, or why it is none."""
        reading = ParsedRow(row, raw, image_folder(self.source, self.base, raw.place))
        if raw.error is not None:
            return replace(reading, findings=(of_error(raw.error, row),))
        try:
            conversation = self._conversation(row, raw)
        except RecordError as error:
            return replace(reading, findings=(of_error(error, row),))
        if conversation is None:
            advice = "Training leaves it out: write the answer to have it learnt"
            skipped = Finding("unanswered", raw.place, row, "answer", "marked as having no answer", advice)
            return replace(reading, findings=(skipped,))
        found = tuple(self._oddities(row, raw, conversation))
        return replace(reading, findings=found, conversation=conversation)

    def _conversation(self, row: int, raw: RawRow) -> Conversation | None:
        """As `llm.formats.readers` makes it, and encoded where the rules say how; None for a row without an answer."""
        record = record_of(self.source, self.base, raw.place, raw.value, self.format)
        other = format_mismatch(record) if self.source.format == "auto" and not self.source.columns else None
        if other and (row <= SEEN or not self.format):
            raise other
        try:
            messages = READERS[self.format].read(record)
        except RecordError as error:
            raise other or error from None
        if not messages:
            return None
        conversation = Conversation(messages, raw.place)
        check_conversation(conversation)
        if self.rules.measure is not None:
            try:
                self.rules.measure(conversation)
            except TemplateError as error:
                advice = "Change the text, or choose another data.template"
                raise RecordError(raw.place, "template", str(error), advice, "template") from error
        return conversation

    def _oddities(self, row: int, raw: RawRow, conversation: Conversation) -> Iterator[Finding]:
        for field_, token in literal_tokens(conversation, self.pattern):
            advice = "It is learnt as text, not as the token: remove it unless that is meant"
            yield Finding("token-literal", raw.place, row, field_, f"{token!r} typed into the text", advice)
        for field_, box in pixel_boxes(conversation):
            advice = "Pictures are resized: write shares of width and height, from 0 to 1"
            yield Finding("box-pixels", raw.place, row, field_, f"the box {box} counts pixels", advice)
        yield from self._repeats(row, raw, conversation)

    def _repeats(self, row: int, raw: RawRow, conversation: Conversation) -> Iterator[Finding]:
        name = raw.value.get("id") if isinstance(raw.value, dict) else None
        if isinstance(name, str | int) and name != "":
            first = self.ids.first(hash64(str(name)), row)
            if first != row:
                advice = "Give every record an id of its own, or none"
                yield Finding("id-duplicate", raw.place, row, "id", f"{name!r} is also the id of row {first}", advice)
        key, number = _key(conversation), self.memory.count + row
        if self.held_out:
            if key in self.memory.rows:
                advice = "Remove it from one of the two: validation must not have been learnt"
                yield Finding("row-leak", raw.place, row, "record", "is in the training data as well", advice)
            return
        first = self.memory.rows.first(key, number)
        if first != number:
            where = f"row {first - self.memory.count}" if first > self.memory.count else "a row of an earlier source"
            advice = "Remove it, unless it is to be learnt twice"
            yield Finding("row-duplicate", raw.place, row, "record", f"says the same as {where}", advice)


def _key(conversation: Conversation) -> int:
    """Equal for conversations of the same roles, texts and pictures."""
    parts: list[str | bytes] = []
    for message in conversation.messages:
        parts.append(message.role if message.loss else f"{message.role} unlearnt")
        parts += [part if isinstance(part, str) else part.data or f"\0{part.path}" for part in message.parts]
    return hash64(*parts)
