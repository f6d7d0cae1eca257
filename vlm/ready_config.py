"""The recipe of a finetune of a vision language model that exists: `model: {vlm: FOLDER}`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from llm.config.schema import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    Positive,
    Rate,
    RunConfig,
    TrainConfig,
    TuneConfig,
)


class ReadyModelConfig(ModelConfig):
    """A vision language model that exists, opened by its own class and its own processor."""

    llm: str = Field(
        alias="vlm",
        description="folder or hub id of a vision language model of transformers' AutoModelForImageTextToText",
    )


class ReadyTuneConfig(TuneConfig):
    """Which weights of a ready model are trained: of its language model, and of all that makes its image features."""

    tower: Literal["frozen", "lora", "full"] = Field(
        "frozen",
        description="the image side, tower and projector: not trained, with LoRA adapters, or all weights",
    )
    projector: Literal["frozen", "full"] | None = Field(
        None, description="the projector (merger) alone: not trained, or all weights; as the tower when left out"
    )
    tower_rank: Positive = Field(64, description="tower: lora; rank of the LoRA matrices")
    tower_alpha: float = Field(16.0, description="tower: lora; LoRA scale, as `alpha`")
    tower_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="tower: lora; dropout, as `dropout`")


class ReadyOptimConfig(OptimConfig):
    """The optimizer, with learning rates of their own for tower and projector."""

    tower_lr: Rate | None = Field(None, description="learning rate of the tower; `lr` when left out")
    projector_lr: Rate | None = Field(
        None, description="learning rate of the projector (merger); that of the tower when left out"
    )


class ReadyRunConfig(RunConfig):
    """A finetune of a vision language model that exists: `model: {vlm: FOLDER}`."""

    stage: Literal["finetune"] = Field(description="finetune: what `tune` says of the model is trained")
    model: ReadyModelConfig = Field(description="the model")
    tune: ReadyTuneConfig = ReadyTuneConfig()
    optim: ReadyOptimConfig = ReadyOptimConfig()

    @field_validator("start", mode="after")
    @classmethod
    def _starts_from_its_folder(cls, start: str) -> str:
        if start:
            raise ValueError("a finetune of model.vlm starts from its folder: export the earlier run and name that")
        return start

    @field_validator("data", mode="after")
    @classmethod
    def _has_its_own_template(cls, data: DataConfig) -> DataConfig:
        if data.template != "auto":
            raise ValueError("template: model.vlm is prompted by its own chat template; leave it out")
        return data

    @field_validator("train", mode="after")
    @classmethod
    def _runs_its_own_layers(cls, train: TrainConfig) -> TrainConfig:
        if train.lean == "on":
            raise ValueError("lean: model.vlm runs its own layers; leave it out")
        return train

    @field_validator("parallel", mode="after")
    @classmethod
    def _packs_are_not_divided(cls, parallel: ParallelConfig) -> ParallelConfig:
        if parallel.sequence > 1:
            raise ValueError("sequence: found above 1, but only packs of text can be shared by processes; leave it out")
        return parallel
