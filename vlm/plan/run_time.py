"""The time of a complete run before its first step: its products alone, at the measured speed of a CPU."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llm.config.schema import RunConfig
from llm.data.corpus_writer import encode, prompted
from llm.formats.readers import read
from llm.planning.step_forecast import Kind
from llm.train.earlier_runs import EarlierRun
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.model.meta_model import meta_tower
from vlm.model.record_encoder import encoder_of_run
from vlm.plan.memory_report import candidates, forecast
from vlm.plan.ready_pack import smallest_image
from vlm.plan.worst_pack import image_count, packs_a_step

SAMPLED = 200
"""Records whose tokens are counted; the others are taken to be as long."""


@dataclass(frozen=True, slots=True)
class TypicalRecord:
    """A record of the data: its mean number of tokens, images included, and whether records have images."""

    tokens: float
    images: bool


def sample_records(config: RunConfig, base: Path) -> TypicalRecord:
    """The mean of the first records of the recipe's first source; those over `data.max_length` count as nothing.

    Raises RecordError and TemplateError for a record that cannot be trained on.
    """
    encoder, source = encoder_of_run(config), config.data.sources[0]
    tokens, count, images = 0, 0, 0
    for conversation in islice(read(source, base, _ignore), SAMPLED):
        samples = encode(prompted(conversation, config.data.system), encoder, config.data)
        lengths = [len(sample.ids) for sample in samples]
        count += 1
        images += len(conversation.images) + len(conversation.videos)
        tokens += sum(lengths) if max(lengths) <= config.data.max_length else 0
    return TypicalRecord(tokens / max(1, count), images > 0)


def run_seconds(
    config: RunConfig,
    earlier: Sequence[EarlierRun],
    kind: Kind,
    targets: float,
    typical: TypicalRecord,
    records: int,
    flops_per_s: float,
) -> float:
    """Seconds of the run's matrix products: a lower bound, since nothing computes at the speed of large products.

    `records` of the kind `typical`; `targets` is the share of text tokens with a loss.
    """
    length = max(1, math.ceil(typical.tokens))
    if typical.images and isinstance(config, VlmRunConfig):
        length = max(length, meta_tower(config).extremes[-1].tokens + 1)
    if typical.images and isinstance(config, ReadyRunConfig):
        length = max(length, smallest_image(config) + 2)
    data = config.data.model_copy(update={"max_length": min(length, config.data.max_length)})
    same = config.model_copy(update={"data": data})
    packs = candidates(same, targets, kind)
    pack = next((one for one in packs if bool(image_count(one.batch)) == typical.images), packs[0])
    found = forecast(same, earlier, pack, packs_a_step(same), kind)
    return trained_records(config, records) * typical.tokens * found.flops / pack.text.tokens / flops_per_s


def trained_records(config: RunConfig, records: int) -> float:
    """Records of all steps of the run, repeated ones included."""
    train = config.train
    all_epochs = records * (1 - config.data.validation) * train.epochs
    return min(all_epochs, train.max_steps * train.batch) if train.max_steps else all_epochs


def _ignore(_: str) -> None:
    """Warnings of the reader: the check before has reported them."""
