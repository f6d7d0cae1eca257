"""Records of a data file as the model reads them: images, tokens, which of them are supervised."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from demo.model_library import ModelLibrary, display_path
from llm.config.schema import RunConfig, Source
from llm.data.prefix_sharing import share_prefixes
from llm.encoding.encoder import Encoder
from llm.encoding.token_view import Kind, SampleBlock, sample_blocks
from llm.files.regular_files import exists
from llm.formats.conversation import Conversation, ImageRef
from llm.formats.readers import read
from vlm.model.run_recipe import read_run_config

Span = tuple[str, str | None]
SUPERVISED, IMAGE = "supervised", "image"
BREAK = "\n\n"  # between the branches of a record
LABELS: dict[Kind, str | None] = {"context": None, "supervised": SUPERVISED, "image": IMAGE}


@dataclass(frozen=True, slots=True)
class RecordView:
    """One encoded record: its images, its tokens as labelled text spans, and token counts."""

    place: str
    images: tuple[ImageRef, ...]
    spans: list[Span]
    tokens: int
    supervised: int
    image_tokens: int


def find_sources(library: ModelLibrary, named: Sequence[str] = ()) -> dict[str, Source]:
    """Existing data files by path: those in `named`, and the training data of the runs in the library."""
    found = {path: Source(path=str(library.home / path)) for path in named}
    for weights in library.weights.values():
        if weights.checkpoint:
            for source in sources_of(read_run_config(weights.path, library.home)):
                found[display_path(Path(source.path), library.home)] = source
    return {path: source for path, source in found.items() if exists(Path(source.path))}


def sources_of(config: RunConfig) -> tuple[Source, ...]:
    """The sources of a run, held-out ones first: the model was not trained on them."""
    return (*config.data.validation_sources, *config.data.sources)


def load_records(source: Source) -> tuple[Conversation, ...]:
    """All records of a file. The most recently read file is cached until it changes. Raises DataError."""
    try:
        changed = Path(source.path).stat().st_mtime_ns
    except OSError:
        changed = 0  # reading it says what is wrong with it
    return _records(source.model_dump_json(), changed)


@lru_cache(maxsize=1)
def _records(source: str, _: int) -> tuple[Conversation, ...]:
    return tuple(read(Source.model_validate_json(source), Path()))


def sample_records(source: Source, count: int, seed: int) -> list[Conversation]:
    """`count` random records, at most all of them."""
    records = load_records(source)
    return random.Random(seed).sample(records, min(count, len(records)))


def view_record(record: Conversation, encoder: Encoder) -> RecordView:
    """Encode a record as in training; branches follow each other. Raises RecordError if that is not possible."""
    sample, _ = share_prefixes(encoder.encode(record), encoder.image_id)
    blocks = sample_blocks(sample, encoder)
    return RecordView(
        place=str(record.place),
        images=sample.images,
        spans=[span for block in blocks for span in (*_spans(block), (BREAK, None))][:-1],
        tokens=sum(block.tokens for block in blocks),
        supervised=sum(block.count("supervised") for block in blocks),
        image_tokens=sum(block.count("image") for block in blocks),
    )


def _spans(block: SampleBlock) -> list[Span]:
    return [(run.text, LABELS[run.kind]) for run in block.runs]
