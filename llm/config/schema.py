"""The schema of a text run, and how a YAML file becomes one. Vision adds its parts in `vlm.config`.

Every model is frozen and forbids unknown keys: a recipe means what it says or is refused.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a recipe: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Source(Section):
    """One data set: a local file or folder, or a hub data set named `org/name`."""

    path: str
    format: str = Field(
        "auto", description="a format of llm.formats.readers, or auto: detected from the first rows and logged"
    )
    images: str = Field("", description="folder that image paths are relative to; the file's own folder when empty")
    weight: Rate = Field(1.0, description="how often each record is seen in an epoch; 0.5 takes a seeded half")
    split: str = Field("train", description="split of a hub data set")
    columns: dict[str, str] = Field(
        {}, description="for format: columns; maps system/input/output/text/image to column names"
    )


class DataConfig(Section):
    """What is trained on and how it is cut."""

    sources: tuple[Source, ...] = Field(min_length=1)
    template: str = Field(
        "auto", description="auto: the tokenizer's own chat template; else a name of llm.encoding.named_templates"
    )
    system: str = Field("", description="system prompt for records that bring none")
    turns: Literal["together", "apart"] = Field(
        "together", description="apart: every question of a record is asked by itself, sharing the record's images"
    )
    check_images: Literal["decode", "header"] = Field(
        "decode", description="before step 1, read every image whole, or only its header"
    )
    on_bad_image: Literal["stop", "quarantine"] = Field(
        "stop",
        description="an image that turned bad after the check; quarantine: its records are left out from then on, "
        "listed in report.json, and the run stops when they are more than one in 1,000 (a single one is let pass)",
    )
    max_length: Positive = Field(2048, description="tokens of a record, image rows included")
    too_long: Literal["drop", "error"] = "drop"
    validation: Fraction = Field(0.0, description="share of records held out for validation loss")
    validation_sources: tuple[Source, ...] = ()
    cache: str = Field("", description="folder of the token cache; next to the run when empty")
    cache_features: Literal["auto", "on", "off"] = Field(
        "auto", description="vision: keep what a frozen tower makes of each picture; auto: when it fits"
    )
    cache_gib: Annotated[float, Field(gt=0)] = Field(16.0, description="vision: bound of the kept features")


class ModelConfig(Section):
    """The language model."""

    llm: str = Field(description="local folder or hub id of a causal LM")


class TuneConfig(Section):
    """How the language model is trained."""

    kind: Literal["full", "lora", "qlora", "frozen"] = "lora"
    rank: Positive = 64
    alpha: float = 16.0
    dropout: Fraction = 0.0
    targets: tuple[str, ...] = Field(
        (), description="module names that get adapters; every linear of the LLM's layers when empty"
    )
    embeddings: bool = Field(True, description="full: whether token embeddings and the head train as well")
    four_bit: bool = Field(False, description="hold a frozen LLM in NF4; qlora always does")

    @property
    def in_four_bits(self) -> bool:
        """Whether the LLM is held in NF4."""
        return self.kind == "qlora" or self.four_bit


class OptimConfig(Section):
    """The optimizer, its schedule and the gradient's bound."""

    name: Literal["adamw", "adamw8bit", "paged_adamw", "paged_adamw8bit"] = "adamw"
    lr: Rate = 2e-4
    weight_decay: Rate = 0.0
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Rate = 1e-8
    warmup: Fraction = Field(0.03, description="share of all steps in which the rate rises linearly")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: Rate = Field(1.0, description="bound of the global gradient norm; 0 leaves it alone")


class Probe(Section):
    """A fixed question answered during training, so that damage is seen when it happens."""

    prompt: str
    system: str = ""
    image: str = ""
    max_new_tokens: Positive = 64


class TrainConfig(Section):
    """The loop: how long, how much a step, what is said and saved on the way."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int, Field(ge=0)] = Field(0, description="0: as many as the epochs hold")
    batch: Positive = Field(16, description="samples an optimizer step, over all processes")
    packing: Literal["flatten", "fill"] = "flatten"
    fold: Literal["auto", "off"] = Field(
        "auto", description="auto: records of one step that share a beginning (image, system prompt) compute it once"
    )
    order: Literal["random", "by_image"] = Field(
        "random", description="by_image: an epoch shows each image's records one after the other, images at random"
    )
    pack_tokens: Positive = Field(4096, description="token budget of one forward pass")
    pack_images: Positive = Field(64, description="image budget of one forward pass")
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="auto: bf16 where the hardware multiplies it, else fp32; settled when a run begins and kept in its "
        "folder",
    )
    recompute: bool | Literal["selective"] = Field(
        False,
        description="recompute activations in the backward pass. true: whole layers, a third more work, far less "
        "memory; selective: all but matrix products and a card's attention, little more work, less memory",
    )
    lean: Literal["auto", "off"] = Field(
        "auto",
        description="auto: layers of Llama's family run with our own backward pass, which keeps less; "
        "off: transformers' own",
    )
    save_every: Annotated[int, Field(ge=0)] = Field(500, description="steps between checkpoints; 0: only at the end")
    keep: Positive = Field(2, description="whole checkpoints that stay on disk, never fewer than 2")
    log_every: Positive = 10
    validate_every: Annotated[int, Field(ge=0)] = Field(0, description="steps between validations; 0: only at the end")
    sample_every: Annotated[int, Field(ge=0)] = Field(0, description="steps between probe answers; 0: start and end")
    probes: tuple[Probe, ...] = ()


ZERO_NAMES: dict[str, dict[str, object]] = {  # as XTuner's course has them
    "zero1": {"zero": 1},
    "zero2": {"zero": 2},
    "zero2_offload": {"zero": 2, "offload": "optimizer"},
    "zero3": {"zero": 3},
    "zero3_offload": {"zero": 3, "offload": "all"},
}


def _by_name(value: object) -> object:
    """`parallel: zero2` for `parallel: {zero: 2}`."""
    if not isinstance(value, str):
        return value
    if value not in ZERO_NAMES:
        raise ValueError(f"should be one of {', '.join(ZERO_NAMES)}, or a section with zero and offload")
    return ZERO_NAMES[value]


class ParallelConfig(Section):
    """How several processes share a run; `--nproc` or torchrun say how many there are."""

    zero: Literal[0, 1, 2, 3] = Field(
        0, description="what DeepSpeed's ZeRO cuts up: 1 optimizer states, 2 gradients too, 3 weights too; 0: nothing"
    )
    offload: Literal["none", "optimizer", "all"] = Field(
        "none", description="keep in main memory: the optimizer (zero 1 to 3), or it and the weights (zero 3)"
    )

    sequence: Positive = Field(
        1, description="processes that share every pack, for long texts (Ulysses); divides the number of processes"
    )

    @field_validator("offload", mode="after")
    @classmethod
    def _offload_needs_zero(cls, offload: str, info: ValidationInfo) -> str:
        zero, least = info.data.get("zero", 0), {"none": 0, "optimizer": 1, "all": 3}[offload]
        if zero < least:
            raise ValueError(f"{offload!r} needs zero: {least}{' or more' if least < 3 else ''}, found zero: {zero}")
        return offload


class RunConfig(Section):
    """What every training run says; text and vision runs name their stages and sharpen the parts."""

    name: str
    out: str = Field("", description="run folder; runs/<name> when empty")
    seed: int = 0
    stage: str
    model: ModelConfig
    data: DataConfig
    start: str = Field("", alias="from", description="run folder whose trained weights this run starts from")
    tune: TuneConfig = TuneConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    parallel: Annotated[ParallelConfig, BeforeValidator(_by_name)] = Field(ParallelConfig(), validate_default=True)

    @field_validator("parallel", mode="after")
    @classmethod
    def _zero3_recomputes_whole_layers(cls, parallel: ParallelConfig, info: ValidationInfo) -> ParallelConfig:
        train = info.data.get("train")
        if parallel.zero == 3 and isinstance(train, TrainConfig) and train.recompute == "selective":
            raise ValueError("zero: 3 gathers weights a layer at a time: use train.recompute: true, not selective")
        return parallel


def run_folder(config: RunConfig) -> Path:
    """Where the run lives."""
    return Path(config.out or f"runs/{config.name}")


class TextRunConfig(RunConfig):
    """A text run: `stage: sft`."""

    stage: Literal["sft"] = "sft"
