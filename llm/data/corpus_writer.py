"""Writes a corpus: records are encoded one by one and appended to the columns that `llm.data.corpus` maps."""

import hashlib
import json
import os
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from llm.config.schema import DataConfig, Source
from llm.data.memmap_columns import ColumnWriter
from llm.data.prefix_sharing import NO_PREFIX, first_sequence, prefix_key, share_one_prefix, share_within
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.errors import DataError, Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.formats.readers import image_folder, source_format
from llm.formats.split_turns import split_turns
from llm.log import logger

ENDS = ("offsets", "branch_offsets", "image_offsets")  # columns of running totals: tokens, branches, images


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A record as samples.

    Attributes:
        samples: Usually one.
        place: Where it comes from.
        longest: Tokens of its longest sequence, which `data.max_length` bounds.
        text: By which it is drawn for validation where it has no image: equal for records that must not be parted.
        grade: A margin or a label, for stages whose records have one.
        branched: Its one sample is several sequences after one prompt, and other records may share that prompt.
    """

    samples: list[Sample]
    place: Place
    longest: int
    text: bytes
    grade: float = 0.0
    branched: bool = False


class CorpusWriter:
    """Encodes records by the rules of a recipe's `data` section; used in a `with` block, after which `seal` ends it."""

    def __init__(self, folder: Path, data: DataConfig, encoder: Encoder, base: Path, final: Path | None = None) -> None:
        """`final` is the name that `folder` is given later: images that are written into it are named there."""
        self.dropped: list[str] = []
        self._lines: list[str] = []
        self._warnings: list[str] = []
        self._paths: list[str] = []
        self._folder, self._data, self._encoder, self._base = folder, data, encoder, base
        self._final = (final or folder).resolve()
        self._columns = ColumnWriter(folder)
        self._ends = dict.fromkeys(ENDS, 0)
        for name in ENDS:
            self._columns.add_numbers(name, np.zeros(1, np.int64))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._columns.__exit__()

    def open(self, source: Source) -> None:
        """Record a source and the format that it is read as."""
        kind, reason = source_format(source, self._base)
        self._lines.append(f"{source.path}: {kind} ({reason})")
        self._paths.append(source.path)

    def warn(self, line: str) -> None:
        """Log a line about a source, and keep it for runs that read the corpus from its cache."""
        self._warnings.append(line)
        logger.warning("%s", line)

    def add(self, source: Source, conversation: Conversation) -> int:
        """Append a record, unless it is too long; returns its number of tokens.

        Raises RecordError and TemplateError for a record that cannot be trained on.
        """
        return self.append(source, encoded(conversation, self._encoder, self._data))

    def append(self, source: Source, record: EncodedRecord) -> int:
        """Append an encoded record, unless it is too long; returns its number of tokens. Raises as `add`."""
        tokens = sum(len(sample.ids) for sample in record.samples)
        if record.longest > self._data.max_length:
            _too_long(record.place, record.longest, self._data)
            self.dropped.append(str(record.place))
            return tokens
        key = _key(record, source, self._base)
        for piece in record.samples:
            unpacked = _unpack_images(piece, self._folder, self._final)
            append(self._columns, self._ends, unpacked, self._prefix_key(record, piece, unpacked))
            self._columns.add_numbers("weights", np.array([source.weight], np.float64))
            self._columns.add_numbers("grades", np.array([record.grade], np.float64))
            self._columns.add_numbers("keys", np.array([key], np.uint64))
            self._columns.add_texts("places", [str(record.place)])
        return tokens

    def _prefix_key(self, record: EncodedRecord, piece: Sample, unpacked: Sample) -> int:
        image_id = self._encoder.image_id
        if not self._encoder.may_share(piece):
            return NO_PREFIX
        return prefix_key(first_sequence(unpacked, image_id) if record.branched else unpacked, image_id)

    def seal(self) -> None:
        """Write corpus.json, which makes the folder a corpus. Raises DataError when no record was added."""
        if not self._ends["offsets"]:
            long = f"All {len(self.dropped)} records were longer than data.max_length"
            advice = long if self.dropped else "The sources are empty"
            raise DataError(f"{', '.join(self._paths)}: no record to train on. {advice}")
        document = {"dropped": self.dropped, "sources": self._lines, "warnings": self._warnings}
        (self._folder / "corpus.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def encoded(conversation: Conversation, encoder: Encoder, data: DataConfig) -> EncodedRecord:
    """A conversation as supervised fine-tuning trains on it."""
    record = prompted(conversation, data.system)
    samples = encode(record, encoder, data)
    return EncodedRecord(samples, record.place, max(len(one.ids) for one in samples), samples[0].ids.tobytes())


def prompted(conversation: Conversation, system: str) -> Conversation:
    """The record with the system prompt `system` in front, unless it has one of its own or `system` is empty."""
    if not system or conversation.is_plain or conversation.messages[0].role == "system":
        return conversation
    return Conversation((Message("system", (system,)), *conversation.messages), conversation.place)


def encode(conversation: Conversation, encoder: Encoder, data: DataConfig) -> list[Sample]:
    """The samples of a record by `data.turns` and `data.max_length`; usually one.

    Answers with different prompts share what these have in common, in trees that are no longer than `data.max_length`
    unless one prompt with its answer is; where `Encoder.may_share` forbids it, each is a sample of its own. Plain text
    is cut into windows of that length.
    """
    records = split_turns(conversation) if data.turns == "apart" else [conversation]
    sequences = [sequence for record in records for sequence in encoder.encode(record)]
    if conversation.is_plain:
        return _windows(sequences[0], data.max_length)
    if not all(map(encoder.may_share, sequences)):
        return [sequence for sequence in sequences if (sequence.labels != IGNORED).any()]
    if data.turns == "apart":
        sequences = [share_one_prefix(sequences, encoder.image_id)]
    return list(share_within(sequences, data.max_length, encoder.image_id))


def append(columns: ColumnWriter, ends: dict[str, int], sample: Sample, share: int) -> None:
    """Append a sample to every column; `ends` are the running totals, which are updated."""
    columns.add_numbers("ids", sample.ids.astype(np.int32))
    columns.add_numbers("labels", sample.labels.astype(np.int32))
    columns.add_numbers("branches", np.asarray(sample.branches, np.int64))
    columns.add_numbers("parents", np.asarray(sample.parents or (0,) * len(sample.branches), np.int64))
    columns.add_texts("images", (image.path for image in sample.images))
    for image in sample.images:
        if image.shape is not None:
            columns.add_numbers("image_shapes", np.array(astuple(image.shape), np.int64))
    for name, count in zip(ENDS, (len(sample.ids), len(sample.branches), len(sample.images)), strict=True):
        ends[name] += count
        columns.add_numbers(name, np.array([ends[name]], np.int64))
    columns.add_numbers("targets", np.array([(sample.labels != IGNORED).sum()], np.int64))
    columns.add_numbers("shares", np.array([share], np.int64))


def hash64(content: bytes) -> int:
    """The first 64 bits of a SHA-256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _key(record: EncodedRecord, source: Source, base: Path) -> int:
    """A hash of the first image's relative path or of the text, which does not depend on where the files are."""
    images = record.samples[0].images
    if not images:
        return hash64(record.text)
    first = images[0]
    return hash64(first.data or os.path.relpath(first.path, image_folder(source, base, record.place)).encode())


def _windows(sample: Sample, length: int) -> list[Sample]:
    """Plain text in consecutive windows of `length` tokens; every target is in exactly one."""
    if sample.images:
        return [sample]
    starts = range(0, len(sample.ids), length)
    return [Sample(sample.ids[start : start + length], sample.labels[start : start + length]) for start in starts]


def _too_long(place: Place, length: int, data: DataConfig) -> None:
    if data.too_long == "error":
        raise RecordError(
            place,
            "length",
            f"{length} tokens, data.max_length is {data.max_length}",
            "Raise data.max_length, shorten the record, or set data.too_long: drop",
            "too-long",
        )


def _unpack_images(sample: Sample, folder: Path, final: Path) -> Sample:
    """Write images that came as bytes inside a record into `folder`, so that the sample names files only."""
    if not any(image.data for image in sample.images):
        return sample
    images = []
    for image in sample.images:
        if image.data:
            name = hashlib.sha256(image.data).hexdigest()
            (folder / name).write_bytes(image.data)
            images.append(ImageRef(str(final / name), shape=image.shape))
        else:
            images.append(image)
    return replace(sample, images=tuple(images))
