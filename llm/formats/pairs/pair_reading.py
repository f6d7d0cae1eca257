"""Records of preferences as `stage: prefer` reads them: pairs of answers, and single answers labelled good or bad."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llm.config.schema import Source
from llm.errors import DataError
from llm.formats.conversation import Conversation, Message, check_conversation
from llm.formats.pairs.scored_answers import scored_answers
from llm.formats.preference_pairs import PreferencePair, fits_preference, read_sides
from llm.formats.readers import NO_RECORD, READERS, source_records
from llm.formats.reading import LABELS, Reading, ReadingReport, label_of
from llm.formats.tool_calls import with_tools
from llm.formats.turns.grounding import with_objects
from llm.log import logger
from llm.records.record import Record, kind
from llm.records.unread_fields import UnreadField, media_error, unread_fields
from llm.rows.files import Report

PAIRED = "preference"  # the format of READERS whose rows are pairs
_OTHER_IMAGES = ("rejected_images", "rejected_image", "chosen_images", "chosen_image")


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """A conversation whose last answer was judged."""

    conversation: Conversation
    good: bool


def read_pairs(source: Source, base: Path, warn: Report = logger.warning, margin: str = "") -> Iterator[PreferencePair]:
    """Yield every pair of a source, checked; relative paths are resolved against `base`.

    `margin`: the field with each pair's margin; empty for none. Raises as `llm.formats.readers.read`, and RecordError
    for a record that is no pair, or whose answers cannot be compared.
    """
    report = ReadingReport(source.path)
    for record in source_records(source, base, warn):
        pair, unread = interpret_pair(record, margin)
        report.add(record, Reading(pair.chosen, unread))
        yield pair
    _end(report, source, warn)


def read_labelled(source: Source, base: Path, warn: Report = logger.warning) -> Iterator[LabelledAnswer]:
    """Yield every labelled answer of a source; a pair is a good one and a bad one. Raises as `read_pairs`."""
    report = ReadingReport(source.path)
    for record in source_records(source, base, warn):
        if record.format == PAIRED:
            pair, unread = interpret_pair(record)
            report.add(record, Reading(pair.chosen, unread))
            yield LabelledAnswer(pair.chosen, True)
            yield LabelledAnswer(pair.rejected, False)
            continue
        answer, unread = interpret_labelled(record)
        report.add(record, Reading(answer.conversation, unread))
        yield answer
    _end(report, source, warn)


def interpret_pair(record: Record, margin: str = "") -> tuple[PreferencePair, tuple[UnreadField, ...]]:
    """The record as a checked pair, and the filled fields that were not read. Raises RecordError.

    Codes: `pair-form` (no pair), `pair-empty`, `pair-same`, `pair-prompts` (different prompts), `pair-images` (images
    of one side only), `pair-scores`; and those of any conversation.
    """
    if not fits_preference(record.row):
        advice = "`stage: prefer` takes pairs: give `chosen` and `rejected`, or set prefer.loss: kto for labels"
        raise record.error("rejected", "there is none", advice, "pair-form")
    _refuse_other_images(record)
    sides = (with_objects(record, with_tools(record, messages)) for messages in read_sides(record))
    chosen, rejected = (Conversation(messages, record.place) for messages in sides)
    check_conversation(chosen)
    check_conversation(rejected)
    _refuse_incomparable(record, chosen, rejected)
    pair = PreferencePair(chosen, rejected, _margin(record, margin) if margin else 0.0)
    return pair, _unread(record, chosen)


def interpret_labelled(record: Record) -> tuple[LabelledAnswer, tuple[UnreadField, ...]]:
    """The record as a labelled answer, and the filled fields that were not read. Raises RecordError.

    Its label is `label` or `kto_tag`: true or 1 for a good answer, false or 0 for a bad one.
    """
    messages = READERS[record.format].read(record)
    label = label_of(record)
    if label is None or not messages:
        found = "there is none" if messages else "the record has no answer"
        advice = "prefer.loss: kto needs `label: true` or `label: false` in every record"
        raise record.error(LABELS[0], found, advice, "label-missing")
    conversation = Conversation(messages, record.place)
    check_conversation(conversation)
    if conversation.is_plain:
        raise record.error("prompt", "there is none", "A labelled answer needs its question", "question-missing")
    return LabelledAnswer(conversation, label), _unread(record, conversation)


def prompt_length(chosen: Conversation, rejected: Conversation) -> int:
    """How many messages are the prompt of both answers: those before the first that differs."""
    pairs = zip(chosen.messages, rejected.messages, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), len(chosen.messages))


def without_earlier_loss(conversation: Conversation, prompt: int) -> Conversation:
    """The conversation whose first `prompt` messages are no targets."""
    messages = [replace(message, loss=False) for message in conversation.messages[:prompt]]
    return Conversation((*messages, *conversation.messages[prompt:]), conversation.place)


def answer_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The last answer of a conversation, as it is compared."""
    return conversation.messages[-1:]


def _refuse_incomparable(record: Record, chosen: Conversation, rejected: Conversation) -> None:
    if chosen == rejected:
        tied = len({answer.score for answer in scored_answers(record.row)}) == 1
        found = "all answers have the same score" if tied else "equals the chosen answer"
        raise record.error("rejected", found, "Correct or remove the pair", "pair-same")
    if chosen.images != rejected.images:
        found = f"{len(chosen.images)} images with the chosen answer, {len(rejected.images)} with the rejected one"
        if len(chosen.images) == len(rejected.images):
            found = "other images with the rejected answer than with the chosen one"
        raise record.error("rejected", found, "Both answers are about the same images", "pair-images")
    prompt = prompt_length(chosen, rejected)
    answers = [side.messages[prompt : prompt + 1] for side in (chosen, rejected)]
    if any(not answer or answer[0].role != "assistant" for answer in answers):
        found = f"follows another prompt than the chosen answer: message {prompt + 1} differs, or is on one side only"
        raise record.error("rejected", found, "Both answers follow the same turns", "pair-prompts")


def _refuse_other_images(record: Record) -> None:
    for name in _OTHER_IMAGES:
        if record.row.get(name):
            advice = "Both answers of a pair are about the same images: name those in `images`, or remove the pair"
            raise record.error(name, "images of one side only", advice, "pair-images")


def _margin(record: Record, name: str) -> float:
    value = record.take(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    found = "is missing" if value is None else f"is {kind(value)}, not a finite number"
    raise record.error(name, found, "prefer.margin_column names it: give every pair a number", "field-type")


def _unread(record: Record, conversation: Conversation) -> tuple[UnreadField, ...]:
    unread = unread_fields(record, (image.path for image in conversation.images))
    media = next((field for field in unread if field.kind == "media"), None)
    if media is not None:
        raise media_error(record, media)
    return unread


def _end(report: ReadingReport, source: Source, warn: Report) -> None:
    report.log(warn)
    if not report.conversations:
        raise DataError(f"{source.path}: {NO_RECORD}")
