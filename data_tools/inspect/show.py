"""`eyegraft data show`: a sample of records as tokens, in the packs that training makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from data_tools.inspect.target import BASE, Target, draw, refuse_images
from llm.data.corpus import Corpus, open_corpus
from llm.data.corpus_writer import CorpusWriter
from llm.data.loader import plan_epoch
from llm.data.prefix_sharing import group_by_key, share_one_prefix, share_prefixes
from llm.encoding.encoder import Encoder
from llm.encoding.token_view import Kind, SampleBlock, TokenRun, sample_blocks
from llm.encoding.video_frames import show_frames
from llm.errors import DataError
from llm.formats.conversation import Conversation, ImageRef
from vlm.vision.video_frames import VideoFrames


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A record, or several that share a prefix, with a place for each branch."""

    places: tuple[str, ...]
    images: tuple[ImageRef, ...]
    blocks: tuple[SampleBlock, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens, shared prefixes counted once."""
        return sum(block.tokens for block in self.blocks)

    def count(self, kind: Kind) -> int:
        """Tokens of one kind."""
        return sum(block.count(kind) for block in self.blocks)

    def runs_with_images(self, block: SampleBlock) -> list[tuple[TokenRun, ImageRef | None]]:
        """The runs of a block, those of images with the image."""
        earlier = self.blocks[: next(number for number, other in enumerate(self.blocks) if other is block)]
        images = iter(self.images[sum(_count_images(other) for other in earlier) :])
        return [(run, next(images) if run.kind == "image" else None) for run in block.runs]


@dataclass(frozen=True, slots=True)
class ShownPack:
    """One forward pass: pack `number` of the `of` packs of an optimizer step, with a budget of tokens.

    `computed` tokens are computed, fewer than `tokens` if different samples share a prefix (llm/data/prefix_sharing).
    """

    step: int
    number: int
    of: int
    budget: int
    computed: int
    samples: tuple[ShownSample, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens, shared prefixes counted once."""
        return sum(sample.tokens for sample in self.samples)

    def count(self, kind: Kind) -> int:
        """Tokens of one kind."""
        return sum(sample.count(kind) for sample in self.samples)


@dataclass(frozen=True, slots=True)
class ShownRecords:
    """The drawn records: `packs` if there is a model, otherwise `texts`, whose runs have text and no tokens."""

    name: str
    model: str
    template: str
    records: int
    seed: int
    max_length: int
    too_long: tuple[str, ...] = ()
    packs: tuple[ShownPack, ...] = ()
    texts: tuple[ShownSample, ...] = ()
    note: str = ""  # about the chat template


def show(target: Target, count: int, seed: int, folder: Path) -> ShownRecords:
    """Draw `count` records of the target. Their corpus and embedded images are written to the empty `folder`.

    Raises what training would raise for these records.
    """
    encoder = target.encoder()
    drawn = draw(target, count, seed)
    result = partial(
        ShownRecords, target.name, target.model, target.data.template, len(drawn), seed, target.data.max_length
    )
    if encoder is None:
        frames = VideoFrames(target.data.video)
        shown = (show_frames(conversation, frames) for _, conversation in drawn)
        return result(texts=tuple(_as_texts(conversation) for conversation in shown))
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
    packs = tuple(_packs(corpus, target, encoder, count))
    return result(too_long=tuple(corpus.dropped), packs=packs, note=encoder.template.note)


def _packs(corpus: Corpus, target: Target, encoder: Encoder, count: int) -> Iterator[ShownPack]:
    """The packs, in the order of the draw; of a long text in many windows only the first `count`."""
    train = target.train
    folds = train.fold == "auto"
    plan = plan_epoch(corpus, np.arange(min(count, len(corpus))), train)
    for step, packs in enumerate(plan.steps, 1):
        for number, pack in enumerate(packs, 1):
            samples = tuple(_samples(corpus, pack.tolist(), encoder, folds))
            computed = _computed(corpus, pack.tolist(), encoder, folds)
            yield ShownPack(step, number, len(packs), train.pack_tokens, computed, samples)


def _computed(corpus: Corpus, pack: list[int], encoder: Encoder, folds: bool) -> int:
    """Tokens of a pack that are computed, shared prefixes once."""
    if not folds:
        return sum(len(corpus.sample(index).ids) for index in pack)
    samples = [corpus.sample(index) for index in pack]
    shared = [sample for sample in samples if encoder.may_share(sample)]
    tree = len(share_prefixes(shared, encoder.image_id)[0].ids) if shared else 0
    return tree + sum(len(sample.ids) for sample in samples if not encoder.may_share(sample))


def _samples(corpus: Corpus, pack: list[int], encoder: Encoder, folds: bool) -> Iterator[ShownSample]:
    groups = group_by_key(corpus.shares[pack].tolist()) if folds else [[at] for at in range(len(pack))]
    for group in groups:
        members = [pack[at] for at in group]
        sample = share_one_prefix([corpus.sample(index) for index in members], encoder.image_id)
        yield ShownSample(
            tuple(corpus.places[index] for index in members), sample.images, sample_blocks(sample, encoder)
        )


def _as_texts(conversation: Conversation) -> ShownSample:
    """A record as its texts with their roles, and no tokens."""
    runs: list[TokenRun] = []
    for message in conversation.messages:
        role = "" if conversation.is_plain else f"{'' if not runs else chr(10)}{message.role}: "
        runs += [TokenRun("context", 0, (role,))] if role else []
        kind: Kind = "supervised" if message.role == "assistant" and message.loss else "context"
        for part in message.parts:
            if isinstance(part, str):
                runs.append(TokenRun(kind, 0, (part,)))
            else:
                runs += [TokenRun("image", 0), TokenRun("context", 0, ("\n",))]  # a line of its own
    return ShownSample((str(conversation.place),), conversation.images, (SampleBlock(tuple(runs)),))


def _count_images(block: SampleBlock) -> int:
    return sum(run.kind == "image" for run in block.runs)
