"""The time and memory of `train.evaluate`: its prompts are encoded, and a pack of their size is forecast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llm.activity import activity
from llm.chat.next_token import packs_of
from llm.config.schema import Evaluation, RunConfig
from llm.errors import EyegraftError
from llm.planning.step_forecast import Kind, StepForecast, measure_reading
from llm.train.earlier_runs import EarlierRun
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.evaluate.benchmark_files import BenchmarkFiles
from vlm.evaluate.benchmark_run import prompts_of
from vlm.evaluate.local_answerer import TOGETHER
from vlm.model.meta_model import meta_model, meta_tower
from vlm.model.record_encoder import encoder_of_run
from vlm.plan.device import GIB, Speed
from vlm.plan.memory_report import TRANSIENT, RunForecast
from vlm.plan.ready_pack import ready_image_pack, ready_text_pack
from vlm.plan.worst_pack import Pack, image_count, image_pack, text_pack, without_images
from vlm.ready.without_weights import ready_without_weights


@dataclass(frozen=True, slots=True)
class EvaluationPrompts:
    """The prompts of one evaluation. A prompt's choices are compared, or it is answered by a text."""

    prompts: int
    read: int  # tokens, those that prompts have in common counted once
    written: int  # tokens of texts, at most
    images: int  # that go through the tower, if none has cached features; of tiled images their views
    largest: int  # tokens of the largest pack


@dataclass(frozen=True, slots=True)
class EvaluationForecast:
    """One evaluation: its prompts, its operations, and the bytes at its peak besides the model and the optimizer."""

    plan: Evaluation
    asked: EvaluationPrompts
    flops: int
    bytes: int


def forecast_evaluation(config: RunConfig, earlier: Sequence[EarlierRun], kind: Kind) -> EvaluationForecast | None:
    """The forecast of one evaluation of a run; None without `train.evaluate`.

    Raises what reading its files, and loading tokenizer and template, raise.
    """
    plan = config.train.evaluate
    if plan is None:
        return None
    with activity("reading what train.evaluate asks"):
        asked = read_prompts(config, plan)
    found, of_image = _read_pack(config, earlier, _pack(config, asked), kind)
    of_token = found.flops / asked.largest
    flops = round((asked.read + asked.written) * of_token + asked.images * of_image)
    passing = sum(found.parts.get(part, 0) for part in (*TRANSIENT, "batch"))
    return EvaluationForecast(plan, asked, flops, passing)


def read_prompts(config: RunConfig, plan: Evaluation) -> EvaluationPrompts:
    """The prompts of an evaluation, as `vlm.evaluate.local_answerer` reads them. Raises as `forecast_evaluation`."""
    encoder = encoder_of_run(config)
    files = BenchmarkFiles(tuple(map(Path, plan.files)), plan.form, plan.images, plan.split, plan.limit)
    asked = [prompt for one in files.read() for prompt in prompts_of(one)]
    unique = list(dict.fromkeys(asked))
    encoded = [encoder.prompt(prompt.messages) for prompt in unique]
    compared = [pair for pair, prompt in zip(encoded, unique, strict=True) if prompt.choices]
    texts = [pair for pair, prompt in zip(encoded, unique, strict=True) if not prompt.choices]
    packs = list(packs_of(compared, encoder.image_id))
    lengths = sorted(len(ids) for ids, _ in texts)
    of_packs = [{image for number in pack for image in compared[number][1]} for pack, _ in packs]
    return EvaluationPrompts(
        prompts=len(unique),
        read=sum(rows for _, rows in packs) + sum(lengths),
        written=sum(prompt.new_tokens for prompt in unique if not prompt.choices),
        images=sum(image.views for images in (*of_packs, *(images for _, images in texts)) for image in images),
        largest=max([*(rows for _, rows in packs), sum(lengths[-TOGETHER:])]),
    )


def with_evaluation(found: RunForecast, evaluation: EvaluationForecast | None) -> RunForecast:
    """The forecast of a run whose evaluations may take more memory than its steps; the difference is a part."""
    of_step = sum(found.parts.get(part, 0) for part in TRANSIENT)
    if evaluation is None or evaluation.bytes <= of_step:
        return found
    return replace(found, parts=found.parts | {"evaluation": evaluation.bytes - of_step})


def evaluation_lines(found: EvaluationForecast | None, speed: Speed | None, steps: int) -> Iterator[str]:
    """Lines: what an evaluation reads, its operations and memory, and its time at a known speed.

    `steps` of the run; 0: unknown. None without an evaluation.
    """
    if found is None:
        return
    asked, every = found.asked, found.plan.every
    times = f", {-(-steps // every):,} times" if steps else ""
    yield (
        f"  evaluation   {asked.prompts:,} prompts of {asked.read:,} tokens, {asked.written:,} written at most, "
        f"every {every:,} steps{times}"
    )
    yield f"               {found.flops / 1e12:.2f} TFLOP and {found.bytes / GIB:.2f} GiB besides model and optimizer"
    if speed is not None:
        seconds = found.flops / speed.flops_per_s
        yield f"               at least {seconds:.1f} s each time: products alone, at this speed"


def evaluation_of(
    config: RunConfig, earlier: Sequence[EarlierRun], kind: Kind
) -> tuple[EvaluationForecast | None, str]:
    """As `forecast_evaluation`; where that raises, None and a line with the reason: a plan needs no files."""
    try:
        return forecast_evaluation(config, earlier, kind), ""
    except EyegraftError as error:
        return None, f"  evaluation   not planned: {error}"


def _pack(config: RunConfig, asked: EvaluationPrompts) -> Pack:
    """A pack as large as the largest one, with its share of the images."""
    views = meta_tower(config).extremes[-1].views if asked.images and isinstance(config, VlmRunConfig) else 1
    count = max(1, round((asked.images or asked.prompts) / views * asked.largest / asked.read))
    shaped = config.model_copy(
        update={
            "data": config.data.model_copy(update={"max_length": -(-asked.largest // count)}),
            "train": config.train.model_copy(
                update={"pack_tokens": asked.largest, "batch": count, "pack_images": count * views}
            ),
        }
    )
    if isinstance(shaped, ReadyRunConfig):
        vlm = ready_without_weights(shaped)[0].vlm
        return ready_image_pack(shaped, vlm, 0.0) if asked.images else ready_text_pack(shaped, vlm, 0.0)
    if asked.images and isinstance(shaped, VlmRunConfig):
        return image_pack(shaped, meta_tower(shaped), targets=0.0)  # at least one each
    pack = text_pack(shaped, targets=0.0)
    return without_images(pack) if isinstance(config, VlmRunConfig) else pack


def _read_pack(config: RunConfig, earlier: Sequence[EarlierRun], pack: Pack, kind: Kind) -> tuple[StepForecast, float]:
    """The forecast of a pack whose images have features, with the memory of one whose images have none; and the
    operations of one image's features.
    """
    meta = meta_model(config, earlier)
    found = measure_reading(meta, pack.batch, pack.text, kind)
    images = image_count(pack.batch)
    if not images:
        return found, 0.0
    bare = without_images(pack)
    text = measure_reading(meta, bare.batch, bare.text, kind)
    return replace(text, parts=found.parts), (found.flops - text.flops) / images
