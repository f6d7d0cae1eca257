"""The recipes of vision runs, evaluations, exports and pipelines; `llm.config.schema` has those of text runs,
`vlm.ready_config` those of ready models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from llm.config.prefer import PreferConfig, PreferRunConfig, refuse_data, refuse_parallel, refuse_prefer
from llm.config.schema import (
    DataConfig,
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
    run_folder,
)
from llm.config.validation_messages import did_you_mean
from llm.config.yaml_loader import Document, Keys, load_yaml, validate
from llm.config.yaml_loader import resolve_yaml as resolve_yaml
from llm.errors import ConfigError
from vlm.ready_config import ReadyRunConfig as ReadyRunConfig
from vlm.recipes import find_recipe


class VlmModelConfig(ModelConfig):
    """A language model, a vision tower and the projector between them."""

    tower: str = Field(
        description="vision tower: folder or hub id of a CLIP, SigLIP, DINOv2 or ViT model, open_clip:<name or "
        "folder>, or timm:<name or folder>"
    )
    tower_layer: int = Field(
        -2,
        description="hidden state of the tower that is projected; -1 is the last. CNN towers always use their last "
        "feature map",
    )
    image_size: Annotated[int, Field(ge=0)] = Field(
        0, description="side of the square that images are brought to, in pixels; 0: what the tower was trained with"
    )
    image_mode: Literal["pad", "resize", "anyres"] = Field(
        "pad",
        description="how images become square: padded with the mean colour, or resized without keeping their ratio. "
        "anyres: LLaVA-NeXT's tiles; all of the image resized, then a grid of tiles at a higher resolution, so that "
        "larger images take more tokens",
    )
    image_resolutions: tuple[tuple[Positive, Positive], ...] = Field(
        (),
        max_length=36,
        validate_default=True,
        description="image_mode: anyres; [height, width] of the grids that an image is fitted into, in pixels, "
        "multiples of the tower's side S; left out: LLaVA-NeXT's [S, 2S], [2S, S], [2S, 2S], [3S, S] and [S, 3S]",
    )
    projector: str = Field(
        "mlp2x_gelu",
        pattern=r"^(linear|mlp[2-9]x_gelu)$",
        description="layers between tower and LLM: linear, mlp2x_gelu (LLaVA-1.5's), or more layers, such as "
        "mlp3x_gelu",
    )
    projector_hidden: Annotated[int, Field(ge=0)] = Field(
        0, description="width of the projector's hidden layers; 0: the LLM's hidden size"
    )
    projector_weights: str = Field(
        "",
        description="LLaVA's mm_projector.bin to start from instead of random weights; needs `standardise: false`, "
        "since it was trained on plain features",
    )
    pool: Positive = Field(
        1,
        description="average the grid of features over pool x pool windows, for fewer image tokens; not exportable "
        "when over 1",
    )
    standardise: bool = Field(
        True,
        validate_default=True,
        description="scale the tower's features to zero mean and unit variance per channel, with statistics measured "
        "before step 1; merged into the projector at export",
    )

    @field_validator("image_resolutions", mode="after")
    @classmethod
    def _resolutions_are_of_tiles(
        cls, resolutions: tuple[tuple[int, int], ...], info: ValidationInfo
    ) -> tuple[tuple[int, int], ...]:
        if resolutions and info.data.get("image_mode") != "anyres":
            raise ValueError("has no effect without image_mode: anyres; leave it out, or set that")
        return resolutions

    @field_validator("standardise", mode="after")
    @classmethod
    def _pretrained_projector_excludes_standardise(cls, standardise: bool, info: ValidationInfo) -> bool:
        if standardise and info.data.get("projector_weights"):
            raise ValueError("should be false beside projector_weights, which were trained on plain features")
        return standardise


class VlmTuneConfig(TuneConfig):
    """Which weights of the LLM and of the vision tower are trained."""

    tower: Literal["frozen", "lora", "full"] = Field(
        "frozen", description="the vision tower: not trained, with LoRA adapters, or all weights"
    )
    tower_rank: Positive = Field(64, description="tower: lora; rank of the LoRA matrices")
    tower_alpha: float = Field(16.0, description="tower: lora; LoRA scale, as `alpha`")
    tower_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="tower: lora; dropout, as `dropout`")


class VlmOptimConfig(OptimConfig):
    """The optimizer, with learning rates of their own for the projector and the tower."""

    projector_lr: Rate | None = Field(None, description="learning rate of the projector; `lr` when left out")
    tower_lr: Rate | None = Field(None, description="learning rate of the vision tower; `lr` when left out")


class VlmRunConfig(RunConfig):
    """A vision run: `stage: pretrain` or `stage: finetune`, LLaVA's two stages; `VlmPreferConfig` adds a third."""

    stage: Literal["pretrain", "finetune", "prefer"] = Field(
        description="pretrain: the projector alone is trained; finetune: the projector and what `tune` says",
        json_schema_extra={"enum": ["pretrain", "finetune"]},  # recipes of prefer have a schema of their own
    )
    model: VlmModelConfig = Field(description="the models; keys that are left out are those of the run in `from`")
    tune: VlmTuneConfig = Field(VlmTuneConfig(), validate_default=True)
    optim: VlmOptimConfig = VlmOptimConfig()

    @field_validator("stage", mode="after")
    @classmethod
    def _has_the_section_of_its_stage(cls, stage: str) -> str:
        if stage == "prefer" and "prefer" not in cls.model_fields:
            raise ValueError("prefer: has keys of its own; validate it as vlm.config.VlmPreferConfig")
        return stage

    @field_validator("parallel", mode="after")
    @classmethod
    def _vision_excludes_sequence_parallelism(cls, parallel: ParallelConfig) -> ParallelConfig:
        if parallel.sequence > 1:
            raise ValueError("sequence: found above 1, but only packs of text can be shared by processes; leave it out")
        return parallel

    @field_validator("tune", mode="after")
    @classmethod
    def _stage_1_freezes_the_llm(cls, tune: VlmTuneConfig, info: ValidationInfo) -> VlmTuneConfig:
        """Stage 1 trains the projector alone: its `tune.kind` is frozen unless the recipe sets it."""
        if info.data.get("stage") == "pretrain" and "kind" not in tune.model_fields_set:
            return tune.model_copy(update={"kind": "frozen"})
        return tune


class VlmPreferConfig(VlmRunConfig):
    """A vision run of `stage: prefer`: a model learns which of two answers about images is better."""

    stage: Literal["prefer"] = Field(
        description="prefer: answers are compared, by the loss in `prefer`; the projector and what `tune` says train"
    )
    prefer: PreferConfig = PreferConfig()

    @field_validator("data", mode="after")
    @classmethod
    def _answers_follow_all_turns(cls, data: DataConfig) -> DataConfig:
        return refuse_data(data)

    @field_validator("parallel", mode="after")
    @classmethod
    def _weights_are_in_every_process(cls, parallel: ParallelConfig) -> ParallelConfig:
        return refuse_parallel(parallel)

    @field_validator("prefer", mode="after")
    @classmethod
    def _fits_the_run(cls, prefer: PreferConfig, info: ValidationInfo) -> PreferConfig:
        return refuse_prefer(prefer, info.data)


class VqaEval(Section):
    """Exact match of greedy answers to image questions, with control questions that show the wrong image."""

    source: Source = Field(description="image questions and their answers, in any format that training reads")
    limit: Annotated[int, Field(ge=0)] = Field(0, description="how many questions are asked; 0: all")
    controls: Annotated[int, Field(ge=0)] = Field(
        0,
        description="how many of them are asked again with a blank image and with another record's image; 0: all",
    )


class IdentityEval(Section):
    """Whether the assistant gives its name when asked, and only then, and how much the base model knew it still "
    "knows."""

    name: str = Field(description="the assistant's name")
    paraphrases: str = Field(description="file: JSON list of held-out questions whose answers must contain the name")
    others: str = Field(
        "", description="file: JSON list of questions whose answers must not contain the name; left out: not measured"
    )
    general: str = Field(
        "", description="file: JSON list of {question, answer} that the base model may know; left out: not measured"
    )
    max_new_tokens: Positive = Field(48, description="longest answer, in tokens")


class BenchmarkEval(Section):
    """Benchmark files that a run is measured on; the report is written into `out`."""

    files: tuple[str, ...] = Field(min_length=1, description="benchmark files or folders, or your own questions")
    form: str = Field("auto", description="form of the files, such as pope; auto: found from their content")
    images: str = Field("", description="folder of their images; the file's own when empty")
    split: str = Field("", description="ask the questions of this split only")
    limit: int = Field(0, ge=0, description="number of questions of each form; 0: all")
    blind: bool = Field(True, description="ask again without the images, for the blind score")


class EvalConfig(Section):
    """`stage: eval`: evaluates a run and writes eval.json into `out`."""

    name: str = Field(description="name of the evaluation")
    out: str = Field("", description="folder of the results; <run>/<name> when empty")
    stage: Literal["eval"]
    run: str = Field(description="run folder to evaluate")
    checkpoint: str = Field("latest", description="name of a checkpoint, such as step-000500, or latest")
    vqa: VqaEval | None = Field(None, description="image questions; left out: not measured")
    identity: IdentityEval | None = Field(
        None, description="questions about the assistant's name; left out: not measured"
    )
    benchmarks: BenchmarkEval | None = Field(None, description="benchmark files; left out: not measured")


class ExportConfig(Section):
    """`stage: export`: writes a run as a Hugging Face model folder and compares its outputs with the run's."""

    name: str = Field(description="name of the export")
    out: str = Field(description="folder to write")
    stage: Literal["export"]
    run: str = Field(description="run folder to export")
    checkpoint: str = Field("latest", description="name of a checkpoint, such as step-000500, or latest")
    dtype: Literal["bf16", "fp32"] = Field("fp32", description="dtype of the exported weights")


class PipelineConfig(Section):
    """A list of recipes that run in order; when started again it resumes at the first one that is not finished."""

    name: str = Field(description="name of the pipeline")
    out: str = Field("", description="folder of report.json; runs/<name> when empty")
    stage: Literal["pipeline"] = "pipeline"
    steps: tuple[str, ...] = Field(min_length=1, description="recipe files, relative to the pipeline's own folder")


Finetune = VlmRunConfig | ReadyRunConfig
Prefer = PreferRunConfig | VlmPreferConfig
AnyConfig = (
    TextRunConfig
    | PreferRunConfig
    | VlmRunConfig
    | VlmPreferConfig
    | ReadyRunConfig
    | EvalConfig
    | ExportConfig
    | PipelineConfig
)

SCHEMAS: dict[str, type[AnyConfig]] = {
    "sft": TextRunConfig,
    "prefer": PreferRunConfig,
    "pretrain": VlmRunConfig,
    "finetune": VlmRunConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "pipeline": PipelineConfig,
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """The recipe at `path` (a file, or the name of a shipped recipe) with `key.path=value` overrides applied.

    Raises one ConfigError that lists every error with its file, line and key.
    """
    return parse_config(load_yaml(find_recipe(str(path)), overrides))


def parse_config(document: Document, earlier: Sequence[RunConfig] = ()) -> AnyConfig:
    """The document as a recipe of its stage. Raises one ConfigError that lists every error with its place and key.

    Keys of `model` that it leaves out are those of the run in `from`: one of `earlier`, or a run folder.
    """
    complete = _with_model_of_start(document, earlier)
    return validate(complete, _schema(complete))


def _with_model_of_start(document: Document, earlier: Sequence[RunConfig]) -> Document:
    """The document with the keys of `model` that it leaves out taken from the run in `from`, if that is found."""
    start, own = document.values.get("from"), document.values.get("model", {})
    if not isinstance(start, str) or not start or not isinstance(own, dict):
        return document
    found = _model_of(Path(start), earlier)
    if not found and "model" not in document.values and not (Path(start) / "config.yaml").is_file():
        raise ConfigError(
            f"{document.place(['from'])}: from: {start} is no run, and `model` is left out; train that run first, "
            "correct the folder, or write `model`"
        )
    if document.values.get("stage") == TextRunConfig.model_fields["stage"].default:
        found = {key: value for key, value in found.items() if key in ModelConfig.model_fields}
    if not found.keys() - own.keys():
        return document
    place = f"{start}/config.yaml"
    keys: list[Keys] = [("model", key) for key in found]
    places: dict[Keys, str] = {("model",): place, **dict.fromkeys(keys, place), **document.places}
    return Document({**document.values, "model": {**found, **own}}, places)


def _model_of(start: Path, earlier: Sequence[RunConfig]) -> dict[str, object]:
    """The `model` section of a run: of an earlier step of the same pipeline, or of a run folder; empty without one."""
    for run in earlier:
        if run_folder(run).absolute() == start.absolute():
            return run.model.model_dump(by_alias=True)
    recipe = start / "config.yaml"
    model = load_yaml(recipe).values.get("model") if recipe.is_file() else None
    return model if isinstance(model, dict) else {}


def load_steps(
    pipeline: PipelineConfig, source: Path, outer: tuple[Path, ...] = ()
) -> tuple[tuple[Path, AnyConfig], ...]:
    """The pipeline's recipes in order; their paths are relative to `source`, the pipeline's own file.

    `outer` are the files of the pipelines that contain this one. Raises ConfigError for a pipeline that contains
    itself, directly or through others.
    """
    inside = (*outer, source.resolve())
    steps: list[tuple[Path, AnyConfig]] = []
    for path in (source.parent / step for step in pipeline.steps):
        earlier = [step for _, step in steps if isinstance(step, RunConfig)]
        steps.append((path, parse_config(load_yaml(find_recipe(str(path))), earlier)))
    for path, step in steps:
        if path.resolve() in inside:
            way = " -> ".join(str(file) for file in (*inside[inside.index(path.resolve()) :], path.resolve()))
            raise ConfigError(f"{source}: steps: {way}: the pipeline contains itself. Remove the step")
        if isinstance(step, PipelineConfig):
            load_steps(step, path, inside)
    return tuple(steps)


def json_schema(stage: str = "") -> dict[str, Any]:
    """JSON schema of the recipes of one stage, or of all stages when empty. Raises ConfigError for an unknown stage.

    As in `parse_config`, `model` and its keys may be left out beside `from`.
    """
    if stage and stage not in SCHEMAS:
        raise ConfigError(f"{stage}: unknown stage; choose {', '.join(SCHEMAS)}{did_you_mean(stage, list(SCHEMAS))}")
    if stage == "prefer":  # of a text model, or of parts
        return _model_beside_start(TypeAdapter[Prefer](Prefer).json_schema())
    if stage == "finetune":  # of parts, or of a ready model
        return _model_beside_start(TypeAdapter[Finetune](Finetune).json_schema())
    if stage:
        return _model_beside_start(SCHEMAS[stage].model_json_schema())
    return _model_beside_start(TypeAdapter[AnyConfig](AnyConfig).json_schema())


def _model_beside_start(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in which a run needs either `from`, or `model` with the keys that have no default."""
    definitions = schema.get("$defs", {})
    needed: dict[str, list[str]] = {}  # by the model's definition, which several kinds of run may share
    for run in (schema, *definitions.values()):
        if not {"model", "from"} <= run.get("properties", {}).keys():
            continue
        name = run["properties"]["model"]["$ref"].rpartition("/")[2]
        if name not in needed:
            needed[name] = definitions[name].pop("required")
        run["required"].remove("model")
        own = {"required": ["model"], "properties": {"model": {"required": needed[name]}}}
        run["anyOf"] = [own, {"required": ["from"], "properties": {"from": {"minLength": 1}}}]
    return schema


def _schema(document: Document) -> type[AnyConfig]:
    """The schema of the document's stage; a finetune that names a ready model has one of its own."""
    stage, model = _stage(document), document.values.get("model")
    if stage == "prefer" and isinstance(model, dict) and "tower" in model:
        return VlmPreferConfig
    if not isinstance(model, dict) or "vlm" not in model:
        return SCHEMAS[stage]
    if stage != "finetune":
        raise ConfigError(
            f"{document.place(['model', 'vlm'])}: model.vlm: a ready model is finetuned: write `stage: finetune`"
        )
    return ReadyRunConfig


def _stage(document: Document) -> str:
    """The recipe's stage: its `stage`, or what its other keys imply."""
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
