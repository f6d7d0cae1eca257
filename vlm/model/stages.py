"""Which parts of a vision model each stage trains."""

from torch import nn

from llm.errors import ConfigError
from llm.model.activation_checkpointing import recompute
from llm.model.lora import LoraSettings, apply_tuning, inject_adapter, train_parameters
from llm.train.optimizer import ParamGroup
from vlm.config import VlmRunConfig
from vlm.model.vision_model import VisionModel
from vlm.vision.towers import CNN

# Stage -> parts that may train. The projector always does; the others as `tune` says.
STAGES: dict[str, tuple[str, ...]] = {
    "pretrain": ("projector",),
    "finetune": ("projector", "llm", "tower"),
    "prefer": ("projector", "llm", "tower"),
}


def apply_stage(vision: VisionModel, config: VlmRunConfig) -> list[ParamGroup]:
    """Freeze all parameters, then unfreeze those that the stage trains; returns groups with their learning rates."""
    _refuse_unused_tuning(config)
    vision.requires_grad_(False)
    parts, optim = STAGES[config.stage], config.optim
    projecting = [parameter for part in vision.projecting for parameter in train_parameters(part)]
    groups = [_group("projector", projecting, optim.projector_lr, optim.lr)]
    if "llm" in parts:
        groups.append(_group("llm", apply_tuning(vision.hf, config.tune), None, optim.lr))
    if "tower" in parts:
        groups.append(_group("tower", _train_tower(vision, config), optim.tower_lr, optim.lr))
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    return [group for group in groups if group.parameters]


def recompute_vision(vision: VisionModel, config: VlmRunConfig) -> None:
    """`train.recompute` for the LLM's layers and for those of a ViT that trains. Of a CNN all activations are saved."""
    recompute(vision.language_model, config)
    if vision.tower_trains and vision.tower.kind != CNN:
        recompute(vision.tower.module, config)


def _refuse_unused_tuning(config: VlmRunConfig) -> None:
    """Raise ConfigError for a pretrain recipe that asks for a tuned LLM or tower."""
    tune = {"kind": config.tune.kind, "tower": config.tune.tower}
    unused = [key for key, value in tune.items() if value != "frozen"]
    if config.stage == "pretrain" and unused:
        raise ConfigError(
            f"tune.{unused[0]} is {tune[unused[0]]!r}, but stage pretrain trains the projector alone. "
            "Set it to frozen, leave it out, or use stage: finetune"
        )


def _train_tower(vision: VisionModel, config: VlmRunConfig) -> list[nn.Parameter]:
    tune = config.tune
    if tune.tower == "frozen":
        return []
    if tune.tower == "full":
        return train_parameters(vision.tower.module)
    return inject_adapter(vision.tower.module, LoraSettings(tune.tower_rank, tune.tower_alpha, tune.tower_dropout))


def _group(name: str, parameters: list[nn.Parameter], rate: float | None, default: float) -> ParamGroup:
    return ParamGroup(name, parameters, default if rate is None else rate)
