"""`eyegraft data show`: some records as the model reads them, in the packs that training would make of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_tools.inspect.target import BASE, Target, draw, refuse_images
from llm.data.corpus import Corpus, open_corpus
from llm.data.corpus_writer import CorpusWriter
from llm.data.loader import plan_epoch
from llm.data.prefix_sharing import group_by_key, share_one_prefix
from llm.encoding.encoder import Encoder
from llm.encoding.token_view import Kind, SampleBlock, TokenRun, sample_blocks
from llm.errors import DataError
from llm.formats.conversation import Conversation, ImageRef
from llm.train.run_data import samples_of


@dataclass(frozen=True, slots=True)
class ShownSample:
    """What stands together in a pack: a record, or several that share a prefix (then a place for each branch)."""

    places: tuple[str, ...]
    images: tuple[ImageRef, ...]
    blocks: tuple[SampleBlock, ...]

    @property
    def rows(self) -> int:
        """Rows of the pack."""
        return sum(block.rows for block in self.blocks)

    def count(self, kind: Kind) -> int:
        """Rows of one kind."""
        return sum(block.count(kind) for block in self.blocks)

    def numbered(self, block: SampleBlock) -> list[tuple[TokenRun, ImageRef | None]]:
        """A block's stretches, those of images with the image they show."""
        before = self.blocks[: next(place for place, other in enumerate(self.blocks) if other is block)]
        rest = iter(self.images[sum(_images(other) for other in before) :])
        return [(stretch, next(rest) if stretch.kind == "image" else None) for stretch in block.stretches]


@dataclass(frozen=True, slots=True)
class ShownPack:
    """One forward pass: pack `number` of the `of` packs of an optimizer step.

    Of its positions `computed` are computed: prefixes that samples share are computed once (llm/data/prefix_sharing).
    """

    step: int
    number: int
    of: int
    budget: int
    computed: int
    samples: tuple[ShownSample, ...]

    @property
    def rows(self) -> int:
        """Rows of the pack."""
        return sum(sample.rows for sample in self.samples)

    def count(self, kind: Kind) -> int:
        """Rows of one kind."""
        return sum(sample.count(kind) for sample in self.samples)


@dataclass(frozen=True, slots=True)
class ShownRecords:
    """Drawn records: in packs with a model; without one `texts`, whose blocks hold text and no tokens."""

    name: str
    model: str
    template: str
    records: int
    seed: int
    max_length: int
    too_long: tuple[str, ...] = ()
    packs: tuple[ShownPack, ...] = ()
    texts: tuple[ShownSample, ...] = ()


def show(target: Target, count: int, seed: int, folder: Path) -> ShownRecords:
    """`count` records of the subject. `folder` is an empty one, where pictures that stood in rows are written.

    Raises what training would raise at these records.
    """
    encoder = target.encoder()
    drawn = draw(target, count, seed)
    whole = partial(
        ShownRecords, target.name, target.model, target.data.template, len(drawn), seed, target.data.max_length
    )
    if encoder is None:
        return whole(texts=tuple(_text(conversation) for _, conversation in drawn))
    data = target.data.model_copy(update={"too_long": "drop"})
    with CorpusWriter(folder, data, encoder, BASE) as writer:
        for source, conversation in drawn:
            refuse_images(target, encoder, conversation)
            writer.add(source, conversation)
    if len(writer.dropped) == len(drawn):
        raise DataError(
            f"{target.name}: all {len(drawn)} records that were drawn are longer than {data.max_length:,} tokens. "
            "Raise data.max_length, or draw others with --seed"
        )
    writer.seal()
    corpus = open_corpus(folder)
    return whole(too_long=tuple(corpus.dropped), packs=tuple(_packs(corpus, target, encoder, count)))


def _packs(corpus: Corpus, target: Target, encoder: Encoder, count: int) -> Iterator[ShownPack]:
    """The packs in the order of drawing; of a long text in many windows only the first `count`."""
    train = target.train
    folds = train.fold == "auto"
    plan = plan_epoch(corpus, np.arange(min(count, len(corpus))), train)
    for step, packs in enumerate(plan.steps, 1):
        for number, pack in enumerate(packs, 1):
            samples = tuple(_samples(corpus, pack.tolist(), encoder, folds))
            computed = sum(len(sample.ids) for sample in samples_of(corpus, pack.tolist(), folds, encoder.image_id))
            yield ShownPack(step, number, len(packs), train.pack_tokens, computed, samples)


def _samples(corpus: Corpus, pack: list[int], encoder: Encoder, folds: bool) -> Iterator[ShownSample]:
    groups = group_by_key(corpus.shares[pack].tolist()) if folds else [[at] for at in range(len(pack))]
    for group in groups:
        members = [pack[at] for at in group]
        sample = share_one_prefix([corpus.sample(index) for index in members], encoder.image_id)
        yield ShownSample(
            tuple(corpus.places[index] for index in members), sample.images, sample_blocks(sample, encoder)
        )


def _text(conversation: Conversation) -> ShownSample:
    """A record as its texts, each behind its role; no tokens, so no rows."""
    stretches: list[TokenRun] = []
    for message in conversation.messages:
        said = "" if conversation.is_plain else f"{'' if not stretches else chr(10)}{message.role}: "
        stretches += [TokenRun("context", 0, (said,))] if said else []
        kind: Kind = "supervised" if message.role == "assistant" and message.loss else "context"
        for part in message.parts:
            if isinstance(part, ImageRef):
                stretches += [TokenRun("image", 0), TokenRun("context", 0, ("\n",))]  # a line of its own
            else:
                stretches.append(TokenRun(kind, 0, (part,)))
    return ShownSample((str(conversation.place),), conversation.images, (SampleBlock(tuple(stretches)),))


def _images(block: SampleBlock) -> int:
    return sum(stretch.kind == "image" for stretch in block.stretches)
