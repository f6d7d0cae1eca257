"""The recipe of a text run: every key with its type, default, unit and effect. `vlm.config` adds those of vision.

Every section is a frozen pydantic model that forbids unknown keys: a key that is misspelt is an error, not ignored.
The descriptions are the reference that the documentation prints and that error messages quote.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Lean = Literal["auto", "on", "off"]
VALIDATED = ("validation_loss", "reward_accuracy")  # measures of `train.keep_best` that validation gives
KeepBest = Literal["off", "validation_loss", "reward_accuracy", "probe_score", "evaluation"]
TrackerName = Literal["tensorboard", "wandb", "swanlab", "mlflow", "trackio"]


class Section(BaseModel):
    """A section of a recipe: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Source(Section):
    """One data set: a local file or folder, or a data set on the Hugging Face hub."""

    path: str = Field(
        description="file or folder, relative to the working directory, or data of a hub: "
        "`hf:datasets/org/name/train.jsonl`, `modelscope:datasets/org/name`"
    )
    format: str = Field(
        "auto", description="name of a format (docs/how-to/data lists them), or auto: detected from the first 100 rows"
    )
    images: str = Field(
        "", description="folder that image paths are relative to, here or of a hub; the data file's own when empty"
    )
    weight: Rate = Field(
        1.0, description="times each record is seen in an epoch; 0.5: a random half, redrawn in each epoch"
    )
    split: str = Field(
        "train",
        description="split of a hub data set, and of a folder or JSON file that has splits",
    )
    columns: dict[str, str] = Field(
        {}, description="for format: columns; maps system, input, output, text, image and video to column names"
    )


class VideoConfig(Section):
    """Which frames of a video a model sees."""

    fps: Annotated[float, Field(gt=0)] = Field(1.0, description="vision: frames of a video a second")
    max_frames: Positive = Field(8, description="vision: most frames of a video, then evenly spaced")
    frames: Annotated[int, Field(ge=0)] = Field(
        0, description="vision: always as many frames, evenly spaced, in place of fps and max_frames; 0: by these"
    )

    @field_validator("frames", mode="after")
    @classmethod
    def _is_one_rule(cls, frames: int, info: ValidationInfo) -> int:
        if frames and (info.data.get("fps"), info.data.get("max_frames")) != (1.0, 8):
            raise ValueError("either frames, or fps and max_frames: leave one of the two rules out")
        return frames


class DataConfig(Section):
    """Training data, and how records become samples."""

    sources: tuple[Source, ...] = Field(min_length=1, description="data sets that are trained on, at least one")
    template: str = Field(
        "auto", description="chat template: a name such as chatml or vicuna, or auto: the tokenizer's own"
    )
    system: str = Field("", description="system prompt of records without one; empty for none")
    turns: Literal["together", "apart"] = Field(
        "together",
        description="together: a record of several turns is one sample; apart: each question is asked without the "
        "turns before it, and all of them share the record's images",
    )
    check_images: Literal["decode", "header"] = Field(
        "decode", description="check before step 1: decode every image, or read only its header (faster)"
    )
    on_bad_image: Literal["stop", "quarantine"] = Field(
        "stop",
        description="when an image cannot be read after that check. stop: the run ends with an error; quarantine: its "
        "records are left out from then on and listed in report.json, and the run stops once they are more than one "
        "in 1,000 (a single one is always allowed)",
    )
    video: VideoConfig = VideoConfig()
    boxes: Literal["auto", "llava", "xtuner", "thousand", "paligemma", "qwen2.5", "pixels"] = Field(
        "auto",
        description="vision: how the answers write boxes. llava: shares of the sides, [0.1, 0.2, 0.5, 0.6]; xtuner: "
        "<10><20><50><60> in braces; thousand: Qwen3-VL, InternVL; paligemma: <loc0102>...; qwen2.5: pixels of the "
        "resized image; pixels: of the image itself; auto: llava, or what model.vlm was published with. `data check` "
        "reports other boxes, and Chat draws answers by it",
    )
    max_length: Positive = Field(2048, description="longest record in tokens, image tokens included")
    too_long: Literal["drop", "error"] = Field(
        "drop", description="records longer than max_length: leave them out and log it, or stop with an error"
    )
    validation: Fraction = Field(
        0.0, description="fraction of the records that is not trained on but used for the validation loss"
    )
    validation_sources: tuple[Source, ...] = Field((), description="data sets that are used for validation only")
    cache: str = Field("", description="folder of the tokenized records; inside the run folder when empty")
    cache_features: Literal["auto", "on", "off"] = Field(
        "auto",
        description="vision: store the features of a frozen tower on disk, so that each image passes through it once; "
        "auto: when they fit within cache_gib",
    )
    cache_gib: Annotated[float, Field(gt=0)] = Field(16.0, description="vision: most disk space for features, in GiB")


class ModelConfig(Section):
    """The language model."""

    llm: str = Field(description="local folder or hub id of a causal LM")


class TuneConfig(Section):
    """Which weights of the language model are trained."""

    kind: Literal["full", "lora", "qlora", "frozen"] = Field(
        "lora",
        description="full: all weights; lora: adapters on a frozen model; qlora: adapters on a model quantised to "
        "4-bit NF4; frozen: none",
    )
    rank: Positive = Field(64, description="rank of the LoRA matrices")
    alpha: float = Field(16.0, description="LoRA scale: the product of the adapter is multiplied by alpha / rank")
    dropout: Fraction = Field(0.0, description="dropout probability on the input of the adapters")
    targets: tuple[str, ...] = Field(
        (), description="names of the linear layers that get adapters; every linear of the LLM's layers when empty"
    )
    embeddings: bool = Field(
        True, description="full: train the token embeddings and the output head too; false freezes them"
    )
    four_bit: bool = Field(False, description="hold a frozen LLM in 4-bit NF4 to save memory; qlora always does")

    @property
    def in_four_bits(self) -> bool:
        """Whether the LLM is held in NF4."""
        return self.kind == "qlora" or self.four_bit


class OptimConfig(Section):
    """The optimizer, its learning-rate schedule and gradient clipping."""

    name: Literal["adamw", "adamw8bit", "paged_adamw", "paged_adamw8bit"] = Field(
        "adamw",
        description="8bit quantises the optimizer states; paged moves them to main memory when the GPU's is full "
        "(both need bitsandbytes)",
    )
    lr: Rate = Field(2e-4, description="learning rate after warmup")
    weight_decay: Rate = Field(0.0, description="decoupled weight decay; not applied to biases and norms")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.999), description="decay rates of AdamW's two moments")
    eps: Rate = Field(1e-8, description="added to the denominator of AdamW's update")
    warmup: Fraction = Field(
        0.03, description="fraction of all optimizer steps in which the learning rate rises linearly from 0"
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="learning rate after warmup: cosine and linear decay to 0 at the last step"
    )
    clip: Rate = Field(1.0, description="largest global L2 norm of the gradient; 0 disables clipping")


class Probe(Section):
    """A question that is answered during training, so that the effect of training on answers can be seen."""

    prompt: str = Field(description="the question")
    system: str = Field("", description="system prompt; empty for none")
    image: str = Field("", description="image file to show before the question; empty for none")
    max_new_tokens: Positive = Field(64, description="longest answer, in tokens")
    expect: str = Field(
        "", description="text that a right answer contains, whatever its case; empty: the answer is not scored"
    )


class Evaluation(Section):
    """Benchmark files of which some questions are asked during training; keys as in an eval recipe's `benchmarks`."""

    every: Positive = Field(
        500,
        description="optimizer steps between evaluations, at most those of the run; the last step is followed by one",
    )
    files: tuple[str, ...] = Field(min_length=1, description="benchmark files or folders, or your own questions")
    form: str = Field("auto", description="form of the files, such as pope; auto: found from their content")
    images: str = Field("", description="folder of their images; the file's own when empty")
    split: str = Field("", description="ask the questions of this split only")
    limit: Annotated[int, Field(ge=0)] = Field(
        200,
        description="questions of each form that are asked, spread evenly over the files, the same ones every time; "
        "0: all",
    )


class TrainConfig(Section):
    """The training loop: length, batches, precision, memory, and what is logged and saved."""

    epochs: Annotated[float, Field(gt=0)] = Field(1.0, description="passes over the data; fractions are allowed")
    max_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="stop after this many optimizer steps; 0: as many as the epochs take"
    )
    batch: Positive = Field(16, description="samples per optimizer step, over all processes")
    packing: Literal["flatten", "fill"] = Field(
        "flatten",
        description="flatten: each step has `batch` samples, packed without padding; fill: samples of the whole "
        "epoch are packed to fill pack_tokens, so their number per step varies around `batch`",
    )
    fold: Literal["auto", "off"] = Field(
        "auto",
        description="auto: a prefix that samples of one step share (system prompt, image) is computed once; off: for "
        "each",
    )
    order: Literal["random", "by_image"] = Field(
        "random",
        description="order of the samples in an epoch; by_image: images in random order, all records of one image in "
        "turn",
    )
    pack_tokens: Positive = Field(4096, description="most tokens in one forward pass; bounds activation memory")
    pack_images: Positive = Field(
        64,
        description="most images in one forward pass; of tiled images (model.image_mode: anyres) most views, each of "
        "as many rows of the tower as an image without tiles",
    )
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="dtype of the forward and backward pass. auto: bf16 where the hardware multiplies it, else fp32; "
        "decided when the run begins and kept when it resumes",
    )
    recompute: bool | Literal["selective"] = Field(
        False,
        description="activation checkpointing. true: every layer is recomputed in the backward pass, a third more "
        "work, far less memory; selective: all but matrix products and the attention kernel of a GPU, little more "
        "work, less memory. Of the LLM, and of a ViT tower that trains",
    )
    lean: Lean = Field(
        "auto",
        description="on: decoder layers of Llama's family use our own backward pass, which saves fewer activations; "
        "auto: on a CPU alone, no GPU was measured yet, and off with `recompute` and under ZeRO-3, where `on` is an "
        "error; off: transformers' own layers",
    )
    save_every: Annotated[int, Field(ge=0)] = Field(
        500, description="optimizer steps between checkpoints; 0: only at the end"
    )
    keep: Positive = Field(2, description="checkpoints that are not deleted, the newest ones; at least 2 are kept")
    log_every: Positive = Field(10, description="optimizer steps between two lines of metrics.jsonl")
    validate_every: Annotated[int, Field(ge=0)] = Field(
        0, description="optimizer steps between validations; 0: only at the end"
    )
    sample_every: Annotated[int, Field(ge=0)] = Field(
        0, description="optimizer steps between answers to the probes; 0: at the start and the end"
    )
    probes: tuple[Probe, ...] = Field((), description="questions whose answers are written to the folder samples/")
    evaluate: Evaluation | None = Field(
        None,
        description="benchmark files of which some questions are asked every so many steps: every, files, form, "
        "images, split, limit; left out: none",
    )
    keep_best: KeepBest = Field(
        "off",
        description="save a checkpoint whenever the measure improves, and never delete the best one, which "
        "`--checkpoint best` names. validation_loss: measured every validate_every steps; reward_accuracy: with "
        "it in `stage: prefer`, the share of validation pairs whose chosen answer has the larger reward; probe_score: "
        "the share of "
        "the probes with `expect` that are answered right, measured every sample_every steps; evaluation: the main "
        "metric of the first form of `evaluate`, measured every evaluate.every steps",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        0, description="measurements of keep_best without an improvement after which the run ends; 0: it never does"
    )

    @field_validator("lean", mode="after")
    @classmethod
    def _lean_excludes_recompute(cls, lean: Lean, info: ValidationInfo) -> Lean:
        if lean == "on" and info.data.get("recompute"):
            raise ValueError("train.lean: on cannot be combined with train.recompute; set one of them")
        return lean

    @field_validator("keep_best", mode="after")
    @classmethod
    def _best_is_measured_often(cls, keep_best: KeepBest, info: ValidationInfo) -> KeepBest:
        if keep_best == "probe_score" and not any(probe.expect for probe in info.data.get("probes", ())):
            raise ValueError("probe_score needs a probe with `expect`")
        if keep_best == "evaluation" and info.data.get("evaluate") is None:
            raise ValueError("evaluation needs train.evaluate with the files that are asked")
        every = "validate_every" if keep_best in VALIDATED else "sample_every" if keep_best == "probe_score" else ""
        if every and not info.data.get(every):
            raise ValueError(f"{keep_best} is measured once in train.{every} steps; set it above 0")
        return keep_best

    @field_validator("patience", mode="after")
    @classmethod
    def _patience_needs_a_measure(cls, patience: int, info: ValidationInfo) -> int:
        if patience and info.data.get("keep_best") == "off":
            raise ValueError("needs train.keep_best: a measure whose improvement it waits for")
        return patience


ZERO_NAMES: dict[str, dict[str, object]] = {  # the names of the configurations that XTuner ships
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
        stage = re.search(r"z(?:ero)?[_-]?stage_?([123])|z(?:ero)?[_-]?([123])", value.lower())
        hint = f"; did you mean zero{stage[1] or stage[2]}?" if stage else ""
        choices = ", ".join(ZERO_NAMES)
        raise ValueError(f"it should be one of {choices}, or a section with zero, offload and sequence{hint}")
    return ZERO_NAMES[value]


class ParallelConfig(Section):
    """How the processes of a run, started with `--nproc` or torchrun, share its work and memory."""

    zero: Literal[0, 1, 2, 3] = Field(
        0,
        description="ZeRO stage of DeepSpeed: what is partitioned over processes. 1: optimizer states; 2: gradients "
        "too; 3: weights too; 0: nothing, without DeepSpeed",
    )
    offload: Literal["none", "optimizer", "all"] = Field(
        "none",
        description="held in main memory instead of the GPU's: optimizer states (zero 1 to 3), or all: those and the "
        "weights (zero 3)",
    )

    sequence: Positive = Field(
        1,
        description="sequence parallelism (Ulysses), for long texts: processes that share each pack; must divide the "
        "number of processes",
    )

    @field_validator("offload", mode="after")
    @classmethod
    def _offload_needs_zero(cls, offload: str, info: ValidationInfo) -> str:
        zero, least = info.data.get("zero", 0), {"none": 0, "optimizer": 1, "all": 3}[offload]
        if zero < least:
            raise ValueError(f"{offload!r} needs zero: {least}{' or more' if least < 3 else ''}, found zero: {zero}")
        return offload


class RunConfig(Section):
    """The keys of every training run; text and vision runs narrow `stage` and some sections."""

    name: str = Field(description="name of the run")
    out: str = Field("", description="run folder; runs/<name> when empty")
    seed: int = Field(0, description="seed of the order of samples, of new weights and of dropout")
    stage: str
    model: ModelConfig = Field(description="the models; keys that are left out are those of the run in `from`")
    data: DataConfig
    start: str = Field(
        "",
        alias="from",
        description="run folder whose trained weights, and `model` section, this run starts from; empty: the model as "
        "it is",
    )
    tune: TuneConfig = TuneConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    parallel: Annotated[ParallelConfig, BeforeValidator(_by_name)] = Field(ParallelConfig(), validate_default=True)
    track: tuple[TrackerName, ...] = Field(
        (),
        description="experiment trackers that get the metrics and the answers to probes: tensorboard, wandb, swanlab, "
        "mlflow, trackio; none when empty",
    )

    @field_validator("track", mode="after")
    @classmethod
    def _each_tracker_once(cls, track: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if twice := sorted({name for name in track if track.count(name) > 1}):
            raise ValueError(f"{twice[0]} is named twice")
        return track

    @field_validator("train", mode="after")
    @classmethod
    def _best_loss_needs_validation(cls, train: TrainConfig, info: ValidationInfo) -> TrainConfig:
        data = info.data.get("data")
        if train.keep_best == "reward_accuracy" and info.data.get("stage") != "prefer":
            raise ValueError("keep_best: reward_accuracy is measured by `stage: prefer` alone; write validation_loss")
        if train.keep_best not in VALIDATED or not isinstance(data, DataConfig):
            return train
        if not data.validation and not data.validation_sources:
            raise ValueError(f"keep_best: {train.keep_best} needs data.validation or data.validation_sources")
        return train

    @field_validator("parallel", mode="after")
    @classmethod
    def _zero3_gathers_weights_by_layer(cls, parallel: ParallelConfig, info: ValidationInfo) -> ParallelConfig:
        train = info.data.get("train")
        if parallel.zero < 3 or not isinstance(train, TrainConfig):
            return parallel
        if train.recompute == "selective":
            raise ValueError("zero: 3 gathers weights a layer at a time: use train.recompute: true, not selective")
        if train.lean == "on":
            raise ValueError("train.lean: on cannot be combined with parallel.zero: 3; set one of them")
        return parallel


def run_folder(config: RunConfig) -> Path:
    """The run folder: `out`, or runs/<name>."""
    return Path(config.out or f"runs/{config.name}")


class TextRunConfig(RunConfig):
    """A text run: `stage: sft`, supervised fine-tuning or continued pretraining on text.

    `llm.config.prefer.PreferRunConfig`, a text run of another stage, is one too; this class itself refuses that stage.
    """

    stage: Literal["sft", "prefer"] = Field(
        "sft", description="sft: a text run; `pretrain` and `finetune` are vision runs"
    )

    @field_validator("stage", mode="after")
    @classmethod
    def _has_the_section_of_its_stage(cls, stage: str) -> str:
        if stage == "prefer" and "prefer" not in cls.model_fields:
            raise ValueError("prefer: has keys of its own; validate it as llm.config.prefer.PreferRunConfig")
        return stage
