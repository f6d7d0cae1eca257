"""What training makes of the first records of a job: packs, lengths, supervised tokens. It imports torch."""

import base64
import tempfile
import time
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from data_tools.inspect.packing_preview import EpochPacking, preview_packing
from data_tools.inspect.stats import distribution
from demo.job_plan.forecast_record import DataForecast, RecordSpans
from demo.pages.parts.record_preview import thumbnail
from demo.pages.parts.records import RecordView, view_record
from llm.config.schema import RunConfig, Source
from llm.data.corpus import Corpus, open_corpus
from llm.data.corpus_writer import CorpusWriter, prompted
from llm.data.hold_out import hold_out
from llm.data.loader import order_epoch
from llm.encoding.encoder import Encoder
from llm.formats.conversation import Conversation
from llm.formats.readers import read
from vlm.model.record_encoder import encoder_of_run

SAMPLED = 2000  # records
LONGEST_S = 60.0  # of encoding them
SHOWN, IMAGES = 3, 3  # records, images of each
MOST_SPANS = 200  # of a record
BASE = Path()


def forecast_data(config: RunConfig) -> DataForecast:
    """The forecast of a recipe's data. Raises what training raises for records that it cannot read."""
    encoder, until = encoder_of_run(config), time.monotonic() + LONGEST_S
    lengths, views = array("q"), list[RecordView]()
    with tempfile.TemporaryDirectory() as folder:
        with CorpusWriter(Path(folder), config.data, encoder, BASE) as writer:
            for source in config.data.sources:
                writer.open(source)
            for source, record in islice(_records(config), SAMPLED):
                lengths.append(writer.add(source, record))
                if len(views) < SHOWN:
                    views.append(view_record(prompted(record, config.data.system), encoder))
                if time.monotonic() > until:
                    break
        writer.seal()
        return _forecast(config, encoder, open_corpus(Path(folder)), lengths, views)


def _records(config: RunConfig) -> Iterator[tuple[Source, Conversation]]:
    for source in config.data.sources:
        for record in read(source, BASE, _ignore):
            yield source, record


def _forecast(
    config: RunConfig, encoder: Encoder, corpus: Corpus, lengths: "array[int]", views: list[RecordView]
) -> DataForecast:
    chosen, _ = hold_out(corpus, config.data.validation, config.seed)
    packing = next(
        one
        for one, _ in preview_packing(corpus, chosen, config.train, config.seed)
        if (one.mode, one.order) == (config.train.packing, config.train.order)
    )
    spread = distribution(np.frombuffer(lengths, np.int64)).quantiles
    tokens, images = len(corpus.ids), int(corpus.image_counts.sum())
    return DataForecast(
        sampled=len(lengths),
        too_long=len(corpus.dropped),
        median=spread["median"],
        longest=spread["max"],
        packs=packing.packs,
        pack_tokens=packing.rows // max(1, packing.packs),
        avoided=avoided(corpus, chosen, config, packing),
        supervised=int(corpus.targets.sum()) / max(1, tokens),
        image_tokens=corpus.image_rows // max(1, images) or encoder.image_tokens,
        records=[_spans(view) for view in views],
    )


def avoided(corpus: Corpus, chosen: np.ndarray, config: RunConfig, packing: EpochPacking) -> float:
    """The share of the tokens of padded batches, each as wide as its longest record, that packs do not compute."""
    order = order_epoch(corpus, chosen, config.train, config.seed, epoch=0)
    lengths = corpus.lengths[order]
    batches = [lengths[start : start + config.train.batch] for start in range(0, len(lengths), config.train.batch)]
    padded = sum(len(batch) * int(batch.max()) for batch in batches)
    return 1 - packing.rows / padded if padded else 0.0


def _spans(view: RecordView) -> RecordSpans:
    images = [base64.b64encode(data).decode() for image in view.images[:IMAGES] if (data := thumbnail(image))]
    return RecordSpans([[text, kind or ""] for text, kind in view.spans[:MOST_SPANS]], images, view.image_tokens)


def _ignore(_: str) -> None:
    """Warnings of the reader: the look at the data has reported them."""
