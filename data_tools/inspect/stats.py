"""`eyegraft data stats`: what a data set holds, and what training would make of it."""

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
from llm.data.corpus import Corpus, hold_out, open_corpus
from llm.data.corpus_writer import CorpusWriter
from llm.formats.readers import source_format

if TYPE_CHECKING:
    from llm.encoding.encoder import Encoder

Numbers = NDArray[np.int64]
QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "99%": 0.99, "max": 1.0}
MOST = 10  # frequent texts that are listed


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution: the sum, the mean, and quantiles by name, each a value that occurs."""

    total: int
    mean: float
    quantiles: dict[str, int]


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """What the records are as tokens. Those longer than `max_length` count in `lengths` and nowhere else."""

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
    """A data set in numbers. Without a model `tokens` is None, and characters and words stand for them."""

    name: str
    sources: tuple[str, ...]
    records: int
    plain: int  # text alone, without a question
    with_system: int
    turns: dict[int, int]  # answers of a record -> records
    images: int
    distinct_images: int
    records_by_images: dict[int, int]
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
    """The values behind the distributions, for plots."""

    lengths: Numbers
    unit: str
    loads: dict[str, Numbers] = field(default_factory=dict)  # rows of every pack, by mode and order


def collect_statistics(target: Target) -> tuple[Statistics, PlotData]:
    """Read every record once. Raises what training would raise before its first step."""
    encoder = target.encoder()
    tally = RecordCounter()
    if encoder is None:
        for _, conversation in count_items(target.conversations(), target.name):
            tally.add(conversation)
        lengths = _numbers(tally.characters)
        return _statistics(target, tally, _sources(target), None), PlotData(lengths, "characters")
    with tempfile.TemporaryDirectory(prefix="eyegraft-stats-") as folder:
        corpus, whole = _encoded(target, encoder, tally, Path(folder))
        chosen, _ = hold_out(corpus, target.data.validation, target.seed)
        found = list(preview_packing(corpus, chosen, target.train, target.seed))
        tokens = _tokens(target, encoder, corpus, whole, tuple(packing for packing, _ in found))
        loads = {f"{packing.mode}, {packing.order}": rows for packing, rows in found}
        return _statistics(target, tally, tuple(corpus.sources), tokens), PlotData(whole, "tokens", loads)


def _encoded(target: Target, encoder: "Encoder", tally: RecordCounter, folder: Path) -> tuple[Corpus, Numbers]:
    """The corpus that training would build, and the rows of every record, too long or not."""
    whole = array("q")
    data = target.data.model_copy(update={"too_long": "drop"})
    with CorpusWriter(folder, data, encoder, BASE) as writer:
        for source in data.sources:
            writer.open(source)
        for source, conversation in count_items(target.conversations(), target.name):
            refuse_images(target, encoder, conversation)
            tally.add(conversation)
            whole.append(writer.add(source, conversation))
    writer.seal()
    return open_corpus(folder), _numbers(whole)


def _tokens(
    target: Target, encoder: "Encoder", corpus: Corpus, whole: Numbers, packing: tuple[EpochPacking, ...]
) -> TokenStatistics:
    return TokenStatistics(
        model=target.model,
        template=target.data.template,
        lengths=distribution(whole),
        max_length=target.data.max_length,
        too_long=len(corpus.dropped),
        rows=len(corpus.ids),
        supervised=int(corpus.targets.sum()),
        image_rows=int(corpus.image_counts.sum()) * encoder.image_rows,
        rows_an_image=encoder.image_rows,
        packing=packing,
    )


def _statistics(
    target: Target, tally: RecordCounter, sources: tuple[str, ...], tokens: TokenStatistics | None
) -> Statistics:
    return Statistics(
        name=target.name,
        sources=sources,
        records=len(tally),
        plain=tally.plain,
        with_system=tally.with_system,
        turns=dict(sorted(tally.turns.items())),
        images=len(tally.pictures),
        distinct_images=tally.pictures.distinct,
        records_by_images=dict(sorted(tally.images.items())),
        characters=distribution(_numbers(tally.characters)),
        words=distribution(_numbers(tally.words)),
        learnt_characters=tally.learnt_characters,
        cjk_letters=tally.cjk / max(1, tally.letters),
        mostly_cjk=tally.mostly_cjk,
        answers=len(tally.answers),
        distinct_answers=tally.answers.distinct,
        common_answers=tally.answers.most(MOST),
        common_openings=tally.openings.most(MOST),
        tokens=tokens,
    )


def distribution(values: Numbers) -> Distribution:
    """The distribution of some numbers, at least one; a quantile is the value below or at which that share lies."""
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    quantiles = {name: int(value) for name, value in zip(QUANTILES, found, strict=True)}
    return Distribution(int(values.sum()), float(values.mean()), quantiles)


def _numbers(values: "array[int]") -> Numbers:
    return np.frombuffer(values, np.int64)


def _sources(target: Target) -> tuple[str, ...]:
    found = ((source.path, *source_format(source, BASE)) for source in target.data.sources)
    return tuple(f"{path}: {kind} ({reason})" for path, kind, reason in found)
