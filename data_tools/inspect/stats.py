"""`eyegraft data stats`: statistics of a data set, and of the packs that training makes of it."""

import tempfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_tools.inspect.counters import RecordCounter
from data_tools.inspect.packing_preview import EpochPacking, preview_packing
from data_tools.inspect.target import BASE, Target, refuse_images
from data_tools.progress import count_items
from llm.data.corpus import Corpus, open_corpus
from llm.data.corpus_writer import CorpusWriter
from llm.data.hold_out import hold_out
from llm.formats.readers import source_format

if TYPE_CHECKING:
    from llm.encoding.encoder import Encoder

Numbers = NDArray[np.int64]
QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "99%": 0.99, "max": 1.0}
MOST = 10  # frequent texts in the report


@dataclass(frozen=True, slots=True)
class Distribution:
    """Sum, mean and quantiles of a distribution; every quantile is a value that occurs."""

    total: int
    mean: float
    quantiles: dict[str, int]


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """Statistics of the encoded records; those longer than `max_length` count in `lengths` only.

    Args:
        rows: Tokens of all records.
        supervised: Supervised tokens.
        image_rows: Image tokens.
        rows_an_image: Tokens of one image; their mean where these differ.
    """

    model: str
    template: str
    lengths: Distribution
    max_length: int
    too_long: int
    rows: int
    supervised: int
    image_rows: int
    rows_an_image: int
    packing: tuple[EpochPacking, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a data set; `tokens` is None without a model. The field names are those of `data stats --json`."""

    name: str
    sources: tuple[str, ...]
    records: int
    plain: int  # records of plain text, without a question
    with_system: int
    turns: dict[int, int]  # answers of a record -> records
    images: int
    distinct_images: int
    records_by_images: dict[int, int]
    videos: int
    characters: Distribution
    words: Distribution
    learnt_characters: int
    cjk_letters: float  # share
    mostly_cjk: int  # records
    answers: int
    distinct_answers: int
    common_answers: list[tuple[str, int]]
    common_openings: list[tuple[str, int]]
    tokens: TokenStatistics | None


@dataclass(frozen=True, slots=True)
class PlotData:
    """The values of the distributions, for plots."""

    lengths: Numbers
    unit: str
    loads: dict[str, Numbers] = field(default_factory=dict)  # tokens of every pack, by mode and order


def collect_statistics(target: Target) -> tuple[Statistics, PlotData]:
    """Read every record once. Raises what training raises before its first step."""
    encoder = target.encoder()
    counter = RecordCounter()
    if encoder is None:
        for _, conversation in count_items(target.conversations(), target.name):
            counter.add(conversation)
        lengths = _numbers(counter.characters)
        return _statistics(target, counter, _sources(target), None), PlotData(lengths, "characters")
    with tempfile.TemporaryDirectory(prefix="eyegraft-stats-") as folder:
        corpus, lengths = _encode(target, encoder, counter, Path(folder))
        chosen, _ = hold_out(corpus, target.data.validation, target.seed)
        found = list(preview_packing(corpus, chosen, target.train, target.seed))
        tokens = _tokens(target, encoder, corpus, lengths, tuple(packing for packing, _ in found))
        loads = {f"{packing.mode}, {packing.order}": tokens_of_packs for packing, tokens_of_packs in found}
        return _statistics(target, counter, tuple(corpus.sources), tokens), PlotData(lengths, "tokens", loads)


def _encode(target: Target, encoder: "Encoder", counter: RecordCounter, folder: Path) -> tuple[Corpus, Numbers]:
    """The corpus that training builds, and the number of tokens of every record, too long ones included."""
    lengths = array("q")
    data = target.data.model_copy(update={"too_long": "drop"})
    with CorpusWriter(folder, data, encoder, BASE) as writer:
        for source in data.sources:
            writer.open(source)
        for source, conversation in count_items(target.conversations(), target.name):
            refuse_images(target, encoder, conversation)
            counter.add(conversation)
            lengths.append(writer.add(source, conversation))
    writer.seal()
    return open_corpus(folder), _numbers(lengths)


def _tokens(
    target: Target, encoder: "Encoder", corpus: Corpus, lengths: Numbers, packing: tuple[EpochPacking, ...]
) -> TokenStatistics:
    images = int(corpus.image_counts.sum())
    rows = int((corpus.ids == encoder.image_id).sum()) if images else 0
    return TokenStatistics(
        model=target.model,
        template=target.data.template,
        lengths=distribution(lengths),
        max_length=target.data.max_length,
        too_long=len(corpus.dropped),
        rows=len(corpus.ids),
        supervised=int(corpus.targets.sum()),
        image_rows=rows,
        rows_an_image=rows // images if images else encoder.image_tokens,
        packing=packing,
    )


def _statistics(
    target: Target, counter: RecordCounter, sources: tuple[str, ...], tokens: TokenStatistics | None
) -> Statistics:
    return Statistics(
        name=target.name,
        sources=sources,
        records=len(counter),
        plain=counter.plain,
        with_system=counter.with_system,
        turns=dict(sorted(counter.turns.items())),
        images=len(counter.image_names),
        distinct_images=counter.image_names.distinct,
        records_by_images=dict(sorted(counter.images.items())),
        videos=counter.videos,
        characters=distribution(_numbers(counter.characters)),
        words=distribution(_numbers(counter.words)),
        learnt_characters=counter.learnt_characters,
        cjk_letters=counter.cjk / max(1, counter.letters),
        mostly_cjk=counter.mostly_cjk,
        answers=len(counter.answers),
        distinct_answers=counter.answers.distinct,
        common_answers=counter.answers.most(MOST),
        common_openings=counter.openings.most(MOST),
        tokens=tokens,
    )


def distribution(values: Numbers) -> Distribution:
    """The distribution of at least one number; quantiles by the inverted empirical distribution function."""
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    quantiles = {name: int(value) for name, value in zip(QUANTILES, found, strict=True)}
    return Distribution(int(values.sum()), float(values.mean()), quantiles)


def _numbers(values: "array[int]") -> Numbers:
    return np.frombuffer(values, np.int64)


def _sources(target: Target) -> tuple[str, ...]:
    found = ((source.path, *source_format(source, BASE)) for source in target.data.sources)
    return tuple(f"{path}: {kind} ({reason})" for path, kind, reason in found)
