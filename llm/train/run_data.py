"""The data of a run: encoded corpora, the validation split, the schedule of packs, and loaders of batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm import distributed
from llm.activity import activity
from llm.config.schema import RunConfig, Source
from llm.data.bad_images import BadRecords
from llm.data.batch import PackedBatch, collate
from llm.data.batch_shard import BatchShard, shard_batch
from llm.data.corpus import Corpus, build_corpus
from llm.data.hold_out import hold_out
from llm.data.loader import Loader, Schedule, every_record, plan_run
from llm.data.prefix_sharing import share_prefixes
from llm.encoding.encoder import Sample
from llm.errors import ConfigError
from llm.train.run_parts import Batch, BatchT, RunParts


@dataclass(frozen=True, slots=True)
class RunData:
    """The data of a run."""

    train: Corpus
    chosen: NDArray[np.int64]  # indices of its training records
    held_corpus: Corpus | None  # the corpus of the validation records; None without any
    held: NDArray[np.int64]  # indices of the validation records
    schedule: Schedule
    facts: dict[str, Any] = field(default_factory=dict)  # counts, for metrics and report
    model_facts: Mapping[str, object] = field(default_factory=dict)  # of the model, for the report
    bad_records: BadRecords | None = None  # None: a run without images
    held_bad_records: BadRecords | None = None

    def bad_records_state(self) -> dict[str, Any]:
        """The bad records of both corpora, for a checkpoint."""
        both = {"train": self.bad_records, "held": self.held_bad_records}
        return {name: bad_records.state() for name, bad_records in both.items() if bad_records is not None}

    def restore_bad_records(self, state: dict[str, Any]) -> None:
        """Restore `bad_records_state()`."""
        for bad_records, name in ((self.bad_records, "train"), (self.held_bad_records, "held")):
            if bad_records is not None:
                bad_records.restore(state.get(name, ()))


def cache_folder(config: RunConfig, folder: Path) -> Path:
    """The folder for encoded records and digests of the base models: `data.cache`, or one in the run folder."""
    return Path(config.data.cache) if config.data.cache else folder / "cache"


def read_run_data(config: RunConfig, parts: RunParts[Batch], folder: Path, base: Path) -> RunData:
    """Encode the records, or find them in the cache, split off the validation part and plan the packs of all epochs.

    Relative paths of sources begin at `base`. Raises DataError and RecordError for records that cannot be used.
    """
    cache = cache_folder(config, folder)

    def corpus_of(sources: tuple[Source, ...]) -> Corpus:
        with distributed.first_rank_first():  # the first reads and encodes, the others find the result
            return build_corpus(sources, config.data, parts.encoder, cache, base, parts.check_image, parts.form)

    if config.data.validation and config.data.validation_sources:
        raise ConfigError(
            f"data.validation: {config.data.validation:g}: data.validation_sources are given too, and the records held "
            "out would be used for nothing. Set one of the two"
        )
    train = corpus_of(config.data.sources)
    chosen, held = hold_out(train, config.data.validation, config.seed)
    held_corpus: Corpus | None = train if len(held) else None
    if config.data.validation_sources:
        held_corpus = corpus_of(config.data.validation_sources)
        held = np.arange(len(held_corpus))
    groups = max(1, distributed.ranks().world // config.parallel.sequence)  # 1 in a dry run, which is one process
    with activity("planning the packs of all steps"):
        schedule = plan_run(train, chosen, config.train, config.seed, groups)
    _refuse_evaluation_beyond(config, schedule.total)
    facts = {
        "records": len(train),
        "dropped_too_long": len(train.dropped),
        "validation_records": len(held),
        "tokens": int(train.lengths[chosen].sum()),
        "supervised_tokens": int(train.targets[chosen].sum()),
        "images": int(train.image_counts[chosen].sum()),
        "steps": schedule.total,
    }
    bad_records = _bad_records_of(config, parts, train)
    held_bad_records = bad_records if held_corpus is train else _bad_records_of(config, parts, held_corpus)
    return RunData(train, chosen, held_corpus, held, schedule, facts, parts.facts, bad_records, held_bad_records)


def _refuse_evaluation_beyond(config: RunConfig, steps: int) -> None:
    """Raise ConfigError where `train.evaluate.every` is never due in a run of so many steps."""
    evaluate = config.train.evaluate
    if evaluate is not None and evaluate.every > steps:
        raise ConfigError(
            f"train.evaluate.every: {evaluate.every:,}: the run has {steps:,} steps and would be evaluated at its end "
            f"alone. Set it to {steps:,} or less; `eyegraft eval` evaluates a finished run"
        )


def _bad_records_of(config: RunConfig, parts: RunParts[Batch], corpus: Corpus | None) -> BadRecords | None:
    if corpus is None or parts.look is None:
        return None
    return BadRecords(corpus, parts.look, stop=config.data.on_bad_image == "stop")


def training_loader(parts: RunParts[BatchT], data: RunData) -> Loader[BatchT]:
    """The training steps, this process's packs as batches."""
    return loader_for(parts, data.train, data.schedule, data.bad_records)


def loader_for(
    parts: RunParts[BatchT], corpus: Corpus, schedule: Schedule, bad_records: BadRecords | None
) -> Loader[BatchT]:
    """The steps of a schedule over `corpus`, batches on the device of this process."""
    device, ranks = distributed.device(), distributed.ranks()

    def make(indices: tuple[int, ...]) -> BatchT:
        batch = parts.collate(corpus, indices)
        return batch if device.type == "cpu" else batch.to(device)

    def mute(batch: BatchT) -> BatchT:
        return batch.muted()

    return Loader(corpus, schedule, make, mute, ranks.rank // parts.sequence, bad_records, parts.counts(corpus))


def validation_loader(config: RunConfig, parts: RunParts[BatchT], data: RunData) -> Loader[BatchT] | None:
    """Every validation record once; None without any."""
    if data.held_corpus is None:
        return None
    one_epoch = config.train.model_copy(update={"epochs": 1.0, "max_steps": 0})
    world = distributed.ranks().world // parts.sequence
    schedule = plan_run(data.held_corpus, data.held, one_epoch, seed=0, world=world)
    return loader_for(parts, data.held_corpus, schedule, data.held_bad_records)


def survey_loaders(config: RunConfig, parts: RunParts[BatchT], data: RunData) -> list[Loader[BatchT]]:
    """Loaders of every record that the run reads: in the packs of its first epoch, and those of validation."""
    held = validation_loader(config, parts, data)
    training = loader_for(parts, data.train, every_record(data.schedule), data.bad_records)
    return [training] if held is None else [training, held]


def collate_text(
    corpus: Corpus, indices: tuple[int, ...], fold: bool = False, sequence: int = 1
) -> PackedBatch | BatchShard:
    """The batch of one pack of a text run; where `sequence` processes share the pack, the part of this one."""
    batch = collate(samples_of(corpus, indices, fold), indices)
    return shard_batch(batch, sequence, distributed.ranks().rank % sequence) if sequence > 1 else batch


def samples_of(corpus: Corpus, indices: tuple[int, ...], fold: bool, image_id: int | None = None) -> list[Sample]:
    """The samples of a pack; with `fold`, merged into one whose branches share their prefixes."""
    samples = [corpus.sample(index) for index in indices]
    return [share_prefixes(samples, image_id)[0]] if fold else samples
