"""What trains in which stage: the table, and its application to a model."""

from torch import nn

from llm.errors import ConfigError
from llm.model.lora import LoraSettings, apply_tuning, inject_adapter, train_parameters
from llm.train.optimizer import ParamGroup
from vlm.config import VlmRunConfig
from vlm.model.vision_model import VisionModel

# stage -> parts that may train. The projector always does; the rest follows `tune`.
STAGES: dict[str, tuple[str, ...]] = {
    "pretrain": ("projector",),
    "finetune": ("projector", "llm", "tower"),
}


def open_stage(vision: VisionModel, config: VlmRunConfig) -> list[ParamGroup]:
    """Freeze everything, then open what the stage trains; returns the groups with their learning rates."""
    _refuse_idle_tuning(config)
    vision.requires_grad_(False)
    parts, optim = STAGES[config.stage], config.optim
    groups = [_group("projector", train_parameters(vision.projector), optim.projector_lr, optim.lr)]
    if "llm" in parts:
        groups.append(_group("llm", apply_tuning(vision.hf, config.tune), None, optim.lr))
    if "tower" in parts:
        groups.append(_group("tower", _open_tower(vision, config), optim.tower_lr, optim.lr))
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    return [group for group in groups if group.parameters]


def _refuse_idle_tuning(config: VlmRunConfig) -> None:
    """A pretrain recipe that asks for a tuned LLM or tower would be obeyed by nobody."""
    asked = {"kind": config.tune.kind, "tower": config.tune.tower}
    idle = [key for key, value in asked.items() if value != "frozen"]
    if config.stage == "pretrain" and idle:
        raise ConfigError(
            f"tune.{idle[0]} is {asked[idle[0]]!r}, but stage pretrain trains the projector alone. "
            "Set it to frozen, leave it out, or use stage: finetune"
        )


def _open_tower(vision: VisionModel, config: VlmRunConfig) -> list[nn.Parameter]:
    tune = config.tune
    if tune.tower == "frozen":
        return []
    if tune.tower == "full":
        return train_parameters(vision.tower)
    return inject_adapter(vision.tower, LoraSettings(tune.tower_rank, tune.tower_alpha, tune.tower_dropout))


def _group(name: str, parameters: list[nn.Parameter], rate: float | None, default: float) -> ParamGroup:
    return ParamGroup(name, parameters, default if rate is None else rate)
