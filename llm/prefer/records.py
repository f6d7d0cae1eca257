"""Records of preferences as samples: the two answers of a record are branches of its prompt.

A pair's branches are its chosen and its rejected answer. A labelled answer (`loss: kto`) has its own and that of the
record before it in the source (the first record: of the second): how likely an answer is after a prompt that it does
not belong to measures how far the model is from the reference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm.config.prefer import PreferConfig
from llm.config.schema import DataConfig, Source
from llm.data.corpus_writer import EncodedRecord, prompted
from llm.data.prefix_sharing import share_prefixes
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.errors import DataError, RecordError
from llm.formats.conversation import Conversation
from llm.formats.pairs.pair_reading import (
    LabelledAnswer,
    answer_messages,
    prompt_length,
    read_labelled,
    read_pairs,
    without_earlier_loss,
)
from llm.formats.preference_pairs import PreferencePair
from llm.rows.files import Report

GOOD, BAD = 1.0, -1.0  # grades of labelled answers


@dataclass(frozen=True, slots=True)
class AnswerRecords:
    """The records of a preference run, as its `prefer` section has them."""

    prefer: PreferConfig

    @property
    def name(self) -> str:
        """A part of the cache key."""
        return "kto" if self.prefer.loss == "kto" else f"pairs {self.prefer.margin_column}"

    def records(
        self, source: Source, base: Path, warn: Report, encoder: Encoder, data: DataConfig
    ) -> Iterator[EncodedRecord]:
        """The records of a source. Raises as `read_pairs` and `Encoder.encode`; DataError for one labelled answer."""
        if self.prefer.loss == "kto":
            yield from _labelled(source, read_labelled(source, base, warn), encoder, data)
        else:
            for pair in read_pairs(source, base, warn, self.prefer.margin_column):
                yield encode_pair(pair, encoder, data)


def encode_pair(pair: PreferencePair, encoder: Encoder, data: DataConfig) -> EncodedRecord:
    """A pair as one sample of two branches, chosen and rejected, whose targets are the answers' tokens.

    Raises RecordError where the chat template writes different prompts before the answers of a pair.
    """
    sides = [prompted(side, data.system) for side in (pair.chosen, pair.rejected)]
    prompt = prompt_length(*sides)
    chosen, rejected = (_encode(without_earlier_loss(side, prompt), encoder) for side in sides)
    return _branched(chosen, rejected, pair.chosen, pair.margin, encoder)


def _labelled(
    source: Source, answers: Iterator[LabelledAnswer], encoder: Encoder, data: DataConfig
) -> Iterator[EncodedRecord]:
    first = next(answers)  # there is one, or reading raised
    second = next(answers, None)
    if second is None:
        raise DataError(
            f"{source.path}: a single labelled answer; prefer.loss: kto compares with other records' answers"
        )
    yield _encode_labelled(first, second, encoder, data)
    yield _encode_labelled(second, first, encoder, data)
    before = second
    for answer in answers:
        yield _encode_labelled(answer, before, encoder, data)
        before = answer


def _encode_labelled(
    answer: LabelledAnswer, other: LabelledAnswer, encoder: Encoder, data: DataConfig
) -> EncodedRecord:
    """A labelled answer, and the answer of `other` after its prompt, which is cut to `data.max_length`."""
    own = prompted(answer.conversation, data.system)
    prompt = len(own.messages) - 1
    swapped = Conversation((*own.messages[:prompt], *answer_messages(other.conversation)), own.place)
    encoded, mismatched = (_encode(without_earlier_loss(side, prompt), encoder) for side in (own, swapped))
    end = max(data.max_length, _prompt_tokens(mismatched) + 1)
    mismatched = Sample(mismatched.ids[:end], mismatched.labels[:end], mismatched.images)
    longest = len(encoded.ids)
    return _branched(encoded, mismatched, answer.conversation, GOOD if answer.good else BAD, encoder, longest)


def _encode(conversation: Conversation, encoder: Encoder) -> Sample:
    samples = encoder.encode(conversation)
    if len(samples) > 1:
        found = f"the chat template writes {len(samples)} different prompts for the answers after it"
        raise RecordError(conversation.place, "answers", found, "Leave one answer after the prompt", "pair-prompts")
    return samples[0]


def _branched(
    first: Sample, second: Sample, conversation: Conversation, grade: float, encoder: Encoder, longest: int = 0
) -> EncodedRecord:
    prompt, other = (sample.ids[: _prompt_tokens(sample)] for sample in (first, second))
    if not np.array_equal(prompt, other):
        found = "the chat template writes another prompt before one answer than before the other"
        raise RecordError(conversation.place, "prompt", found, "Choose another data.template", "pair-prompts")
    sample, answers = share_prefixes([first, second], encoder.image_id)
    assert answers == (0, 1), "branches in the order of the answers"
    longest = longest or max(len(first.ids), len(second.ids))
    text = prompt.tobytes()
    return EncodedRecord([sample], conversation.place, longest, text, grade, branched=True)


def _prompt_tokens(sample: Sample) -> int:
    """Tokens up to the first target."""
    return int((sample.labels != IGNORED).argmax()) + 1
