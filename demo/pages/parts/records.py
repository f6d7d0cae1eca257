"""Records of a data file as the model reads them: pictures, tokens, what is supervised."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from demo.model_library import ModelLibrary, shown
from llm.config.schema import RunConfig, Source
from llm.encoding.encoder import Encoder
from llm.encoding.token_view import Kind, sample_blocks
from llm.files.regular_files import exists
from llm.formats.conversation import Conversation, ImageRef
from llm.formats.readers import read
from vlm.model.run_recipe import read_run_config

Span = tuple[str, str | None]
LEARNED, IMAGE = "learned", "image"
LABELS: dict[Kind, str | None] = {"context": None, "supervised": LEARNED, "image": IMAGE}


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record, drawn."""

    place: str
    pictures: tuple[ImageRef, ...]
    spans: list[Span]
    tokens: int
    supervised: int
    image_rows: int


def find_sources(library: ModelLibrary, named: Sequence[str] = ()) -> dict[str, Source]:
    """Data files by path: those named, and those that the runs on the shelf were trained on. Only files that exist."""
    found = {path: Source(path=str(library.home / path)) for path in named}
    for weights in library.weights.values():
        if weights.checkpoint:
            for source in sources_of(read_run_config(weights.path, library.home)):
                found[shown(Path(source.path), library.home)] = source
    return {path: source for path, source in found.items() if exists(Path(source.path))}


def sources_of(config: RunConfig) -> tuple[Source, ...]:
    """Held-out sources first: they were not trained on."""
    return (*config.data.validation_sources, *config.data.sources)


def load_records(source: Source) -> tuple[Conversation, ...]:
    """All records of a file; the file read last is remembered until it changes."""
    path = Path(source.path)
    return _records(source.model_dump_json(), path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _records(source: str, _: int) -> tuple[Conversation, ...]:
    return tuple(read(Source.model_validate_json(source), Path()))


def sample_records(source: Source, count: int, seed: int) -> list[Conversation]:
    """Some records, others with another seed."""
    records = load_records(source)
    return random.Random(seed).sample(records, min(count, len(records)))


def view_record(record: Conversation, encoder: Encoder) -> RecordView:
    """The record encoded as in training. Raises RecordError when it cannot be."""
    sample = encoder.encode(record)
    (block,) = sample_blocks(sample, encoder)
    return RecordView(
        place=str(record.place),
        pictures=sample.images,
        spans=[(stretch.text, LABELS[stretch.kind]) for stretch in block.stretches],
        tokens=block.rows,
        supervised=block.count("supervised"),
        image_rows=block.count("image"),
    )
