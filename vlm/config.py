"""The schema of vision runs, evaluations, exports and pipelines, on top of `llm.config.schema`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from llm.config.schema import (
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    Positive,
    Rate,
    RunConfig,
    Section,
    Source,
    TextRunConfig,
    TuneConfig,
)
from llm.config.validation_messages import did_you_mean
from llm.config.yaml_loader import Document, load_yaml, validate
from llm.config.yaml_loader import resolve_yaml as resolve_yaml
from llm.errors import ConfigError
from vlm.recipes import find_recipe


class VlmModelConfig(ModelConfig):
    """A language model, a vision tower and the projector between them."""

    tower: str = Field(
        description="folder or hub id of a CLIP, SigLIP, DINOv2 or ViT model, open_clip:<name or folder>, "
        "or timm:<name or folder>"
    )
    tower_layer: int = Field(
        -2, description="hidden state that is projected; -1 is the last. CNN towers give their last feature map"
    )
    image_size: Annotated[int, Field(ge=0)] = Field(0, description="pixels a side; 0: the tower's own")
    image_mode: Literal["pad", "resize"] = Field("pad", description="pad to a square with the mean colour, or stretch")
    projector: str = Field(
        "mlp2x_gelu", pattern=r"^(linear|mlp[2-9]x_gelu)$", description="linear, mlp2x_gelu, or deeper: mlp3x_gelu"
    )
    projector_hidden: Annotated[int, Field(ge=0)] = Field(
        0, description="width of the projector's hidden layers; 0: the LLM's"
    )
    projector_weights: str = Field(
        "",
        description="LLaVA's mm_projector.bin to start from; with `standardise: false`, since it reads plain features",
    )
    pool: Positive = Field(1, description="average the grid of rows in pool x pool windows; not exportable when over 1")
    standardise: bool = Field(
        True,
        validate_default=True,
        description="standardise features with fixed per-channel statistics; folded into the projector at export",
    )

    @field_validator("standardise", mode="after")
    @classmethod
    def _a_ready_projector_reads_plain_features(cls, standardise: bool, info: ValidationInfo) -> bool:
        if standardise and info.data.get("projector_weights"):
            raise ValueError("should be false beside projector_weights, which were trained on plain features")
        return standardise


class VlmTuneConfig(TuneConfig):
    """How the LLM and the tower are trained."""

    tower: Literal["frozen", "lora", "full"] = "frozen"
    tower_rank: Positive = 64
    tower_alpha: float = 16.0
    tower_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05


class VlmOptimConfig(OptimConfig):
    """Separate learning rates; a group without its own takes `lr`."""

    projector_lr: Rate | None = None
    tower_lr: Rate | None = None


class VlmRunConfig(RunConfig):
    """A vision run: `stage: pretrain` trains the projector alone, `stage: finetune` what `tune` says as well."""

    stage: Literal["pretrain", "finetune"]
    model: VlmModelConfig
    tune: VlmTuneConfig = Field(VlmTuneConfig(), validate_default=True)
    optim: VlmOptimConfig = VlmOptimConfig()

    @field_validator("parallel", mode="after")
    @classmethod
    def _packs_with_pictures_stay_whole(cls, parallel: ParallelConfig) -> ParallelConfig:
        if parallel.sequence > 1:
            raise ValueError("sequence: packs with pictures are not cut among processes, text alone is; leave it out")
        return parallel

    @field_validator("tune", mode="after")
    @classmethod
    def _stage_1_freezes_the_llm(cls, tune: VlmTuneConfig, info: ValidationInfo) -> VlmTuneConfig:
        """Stage 1 trains the projector alone: its `tune.kind` is frozen unless the recipe says otherwise."""
        if info.data.get("stage") == "pretrain" and "kind" not in tune.model_fields_set:
            return tune.model_copy(update={"kind": "frozen"})
        return tune


class VqaEval(Section):
    """Greedy exact match on single questions, with the right, a blank and another record's image."""

    source: Source
    limit: Annotated[int, Field(ge=0)] = Field(0, description="questions asked; 0: all")
    controls: Annotated[int, Field(ge=0)] = Field(
        0, description="of these, how many are asked again with a blank and with another record's picture; 0: all"
    )


class IdentityEval(Section):
    """Who the assistant says it is: hits on held-out paraphrases, leaks elsewhere, abilities kept."""

    name: str
    paraphrases: str = Field(description="JSON list of questions that must be answered with the name")
    others: str = Field(description="JSON list of questions whose answers must not hold the name")
    general: str = Field(description="JSON list of {question, answer} the base model may know")
    max_new_tokens: Positive = 48


class EvalConfig(Section):
    """`stage: eval`: measures a run and writes eval.json into `out`."""

    name: str
    out: str = ""
    stage: Literal["eval"]
    run: str
    checkpoint: str = "latest"
    vqa: VqaEval | None = None
    identity: IdentityEval | None = None


class ExportConfig(Section):
    """`stage: export`: writes a plain Hugging Face folder and proves it."""

    name: str
    out: str
    stage: Literal["export"]
    run: str
    checkpoint: str = "latest"
    dtype: Literal["bf16", "fp32"] = "fp32"


class PipelineConfig(Section):
    """`steps:` a list of recipe files, run in order and resumed where they stopped."""

    name: str
    out: str = ""
    stage: Literal["pipeline"] = "pipeline"
    steps: tuple[str, ...] = Field(min_length=1)


AnyConfig = TextRunConfig | VlmRunConfig | EvalConfig | ExportConfig | PipelineConfig

SCHEMAS: dict[str, type[AnyConfig]] = {
    "sft": TextRunConfig,
    "pretrain": VlmRunConfig,
    "finetune": VlmRunConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "pipeline": PipelineConfig,
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """The recipe at `path` (a file, or the name of a shipped recipe) with `key.path=value` overrides applied.

    Raises one ConfigError that names every fault by file, line and key.
    """
    return parse_config(load_yaml(find_recipe(str(path)), overrides))


def parse_config(document: Document) -> AnyConfig:
    """The document as a recipe of its stage. Raises one ConfigError that names every fault by place and key."""
    return validate(document, SCHEMAS[_stage(document)])


def load_steps(
    pipeline: PipelineConfig, source: Path, outer: tuple[Path, ...] = ()
) -> tuple[tuple[Path, AnyConfig], ...]:
    """The pipeline's recipes in order; their paths are relative to `source`, the pipeline's own file.

    `outer` are the pipelines that this one is a step of. Raises ConfigError for one that is a step of itself, however
    deep.
    """
    inside = (*outer, source.resolve())
    steps = tuple((path, load_config(path)) for path in (source.parent / step for step in pipeline.steps))
    for path, step in steps:
        if path.resolve() in inside:
            way = " -> ".join(str(file) for file in (*inside[inside.index(path.resolve()) :], path.resolve()))
            raise ConfigError(f"{source}: steps: {way}: a pipeline that is a step of itself. Take the step out")
        if isinstance(step, PipelineConfig):
            load_steps(step, path, inside)
    return steps


def questions_for_run(run: str, checkpoint: str, data: str, images: str = "", limit: int = 0) -> EvalConfig:
    """The evaluation of one run on the image questions of one file, without a recipe; it lands inside the run."""
    vqa = VqaEval(source=Source(path=data, images=images), limit=limit)
    folder = Path(run)
    out = folder / f"eval-{Path(data).stem}"
    return EvalConfig(name=f"{folder.name}-eval", out=str(out), stage="eval", run=run, checkpoint=checkpoint, vqa=vqa)


def json_schema(stage: str = "") -> dict[str, Any]:
    """JSON schema of one stage's recipes, or of any recipe; ConfigError for an unknown stage."""
    if stage and stage not in SCHEMAS:
        raise ConfigError(f"{stage}: no such stage; choose {', '.join(SCHEMAS)}{did_you_mean(stage, list(SCHEMAS))}")
    if stage:
        return SCHEMAS[stage].model_json_schema()
    return TypeAdapter[AnyConfig](AnyConfig).json_schema()


def _stage(document: Document) -> str:
    """Which schema the recipe follows: `stage:`, or what its keys imply."""
    stage, model = document.values.get("stage"), document.values.get("model")
    if stage is None and "steps" in document.values:
        return "pipeline"
    if stage is None and isinstance(model, dict) and "tower" in model:
        raise ConfigError(f"{document.place(['model'])}: stage: missing; a tower needs `stage: pretrain` or `finetune`")
    if stage is None:
        return "sft"
    if not isinstance(stage, str) or stage not in SCHEMAS:
        choices = list(SCHEMAS)
        raise ConfigError(
            f"{document.place(['stage'])}: stage: found {stage!r}; choose {', '.join(choices)}"
            f"{did_you_mean(str(stage), choices)}"
        )
    return stage
