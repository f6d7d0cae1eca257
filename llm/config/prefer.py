"""The section `prefer` of a recipe, and text runs of `stage: prefer`."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from llm.config.schema import (
    DataConfig,
    ParallelConfig,
    Rate,
    Section,
    TextRunConfig,
    TrainConfig,
    TuneConfig,
)

LossName = Literal["dpo", "ipo", "hinge", "robust", "bco", "kto", "orpo", "simpo", "mpo"]
Reference = Literal["auto", "adapters_off", "copy", "none"]
UNREFERENCED = ("orpo", "simpo")  # losses that compare the answers by their own log-probabilities
SHIFTED = ("bco", "kto", "mpo")  # losses with a shift that is measured against the reference
SMOOTHED = ("dpo", "robust", "simpo")
WITH_MARGIN = ("dpo", "hinge", "robust", "simpo", "mpo")
WITH_SFT = ("orpo", "mpo")  # losses of which an SFT term is a part


class PreferConfig(Section):
    """How the answers of a preference run are compared."""

    loss: LossName = Field(
        "dpo",
        description="loss of a pair of answers: dpo, ipo, hinge, robust, bco, orpo, simpo or mpo; kto takes single "
        "answers that are labelled as good or bad",
    )
    beta: Annotated[float, Field(gt=0)] = Field(
        0.1,
        description="how far the model may move from the reference: rewards are log-ratios times beta; of orpo the "
        "weight of the odds ratio; of simpo the factor of the mean log-probabilities (its paper takes 2.0 to 2.5)",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="dpo, robust and simpo: assumed share of pairs whose answers are labelled the wrong way round"
    )
    sft_weight: Rate | None = Field(
        None,
        description="weight of an SFT term: the mean cross-entropy of the chosen answer's tokens, of kto the good "
        "answer's; left out: 1 for orpo and mpo, of which it is a part, else 0",
    )
    margin: float = Field(
        0.0,
        description="dpo, robust, hinge, simpo and mpo: reward by which the chosen answer must be ahead (simpo: gamma)",
    )
    margin_column: str = Field("", description="field of a record that holds its own margin, added to `margin`")
    reference: Reference = Field(
        "auto",
        description="what log-probabilities are compared with. adapters_off: the same model without its adapters; "
        "copy: the model as the run begins; both are computed once, before the first step, and stored on disk; none: "
        "nothing; auto: adapters_off for LoRA, copy for full training, none for orpo and simpo",
    )

    @field_validator("label_smoothing", mode="after")
    @classmethod
    def _smoothing_is_used(cls, smoothing: float, info: ValidationInfo) -> float:
        loss = info.data.get("loss")
        if smoothing and loss not in SMOOTHED:
            raise ValueError(f"loss {loss} has none; leave it out, or choose {', '.join(SMOOTHED)}")
        return smoothing

    @field_validator("margin", "margin_column", mode="after")
    @classmethod
    def _margin_is_used(cls, margin: float | str, info: ValidationInfo) -> float | str:
        loss = info.data.get("loss")
        if margin and loss not in WITH_MARGIN:
            raise ValueError(f"loss {loss} has none; leave it out, or choose {', '.join(WITH_MARGIN)}")
        return margin

    @field_validator("reference", mode="after")
    @classmethod
    def _reference_fits_the_loss(cls, reference: Reference, info: ValidationInfo) -> Reference:
        loss = info.data.get("loss")
        if loss in UNREFERENCED and reference not in ("auto", "none"):
            raise ValueError(f"loss {loss} compares with no reference; leave it out")
        if loss in SHIFTED and reference == "none":
            raise ValueError(f"none: loss {loss} measures its shift against a reference; leave it out")
        return reference

    @property
    def needs_reference(self) -> bool:
        """Whether log-probabilities of a reference are computed."""
        return self.loss not in UNREFERENCED and self.reference != "none"

    @property
    def weight_of_sft(self) -> float:
        """`sft_weight`, or what the loss has of its own."""
        return float(self.loss in WITH_SFT) if self.sft_weight is None else self.sft_weight


def refuse_prefer(prefer: PreferConfig, run: dict[str, Any]) -> PreferConfig:
    """Raise ValueError where the run's `tune` has not what `prefer.reference` says, or others what the loss has not.

    `run`: the other sections, as pydantic has validated them; invalid ones are missing.
    """
    tune, train, parallel = run.get("tune"), run.get("train"), run.get("parallel")
    if isinstance(parallel, ParallelConfig) and parallel.zero and prefer.loss == "kto":
        raise ValueError("loss: kto gives other figures under ZeRO than in one process; leave parallel.zero out")
    if isinstance(train, TrainConfig) and train.keep_best == "reward_accuracy" and prefer.loss == "kto":
        raise ValueError("keep_best: reward_accuracy compares the answers of pairs, which kto has none of")
    if prefer.reference == "adapters_off" and isinstance(tune, TuneConfig) and tune.kind not in ("lora", "qlora"):
        raise ValueError(f"reference: adapters_off needs adapters, and tune.kind is {tune.kind}; write copy, or lora")
    return prefer


def refuse_data(data: DataConfig) -> DataConfig:
    """Raise ValueError for options of `data` that records of answers do not have."""
    if data.turns == "apart":
        raise ValueError("turns: apart: the answers of a record are compared after all of its turns; leave it out")
    return data


def refuse_parallel(parallel: ParallelConfig) -> ParallelConfig:
    """Raise ValueError for what packs of answers are not shared by."""
    if parallel.sequence > 1:
        raise ValueError("sequence: found above 1, but packs of answers are not shared by processes; leave it out")
    if parallel.zero == 3:
        raise ValueError("zero: 3 partitions the weights, which no preference run was tried with; use 2 or less")
    return parallel


class PreferRunConfig(TextRunConfig):
    """A text run of `stage: prefer`: a model learns which of two answers is better."""

    stage: Literal["prefer"] = Field(description="prefer: answers are compared, by the loss in `prefer`")
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
