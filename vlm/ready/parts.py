"""What of a ready model trains: the language model, its tower and its projector, each with a learning rate of its own.

The tower of an image side is the module with the longest list of layers. The projector is all that makes rows of the
language model's width after it: the modules beside the tower, linears of that width in the tower's module but outside
of its layers, as the mergers of Qwen's, and parameters of the body itself, as LLaVA-NeXT's mark of a line's end.
"""

from collections.abc import Iterator

from torch import nn

from llm.model.lora import LoraSettings, apply_tuning, inject_adapter
from llm.model.quantization import is_linear
from llm.train.optimizer import ParamGroup
from vlm.ready.ready_model import ReadyVlm
from vlm.ready_config import ReadyRunConfig


def train_parts(vlm: ReadyVlm, config: ReadyRunConfig) -> list[ParamGroup]:
    """Freeze all parameters, then unfreeze those that `tune` names; groups with their learning rates.

    A projector that trains as the tower does, at its rate, is in the tower's group.
    """
    tune, optim = config.tune, config.optim
    projector = _of_projector(vlm)  # before adapters are put into the tower
    vlm.hf.requires_grad_(False)
    groups = [ParamGroup("llm", apply_tuning(vlm.hf, tune), optim.lr)]
    tower_lr = optim.lr if optim.tower_lr is None else optim.tower_lr
    tower, apart = _image_side(vlm, config), {id(parameter): parameter for parameter in projector}
    if tune.projector is None and optim.projector_lr is None:
        groups.append(ParamGroup("tower", tower, tower_lr))
    else:
        trained = tower if tune.projector is None else projector if tune.projector == "full" else []
        rate = tower_lr if optim.projector_lr is None else optim.projector_lr
        groups.append(ParamGroup("tower", [one for one in tower if id(one) not in apart], tower_lr))
        groups.append(ParamGroup("projector", [one for one in trained if id(one) in apart], rate))
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    return [group for group in groups if group.parameters]


def projector_modules(vlm: ReadyVlm) -> list[nn.Module]:
    """The modules that make rows of the language model's width of the tower's features."""
    sides = vlm.image_modules()
    layers = {id(side): _layers(side) for side in sides}
    tower = max(sides, key=lambda side: _length(layers[id(side)]))
    width = int(vlm.hf.config.get_text_config().hidden_size)
    own = layers[id(tower)]
    inside = [] if own is None else [*_beside(tower, own, width)]
    return [*(side for side in sides if side is not tower), *inside]


def _of_projector(vlm: ReadyVlm) -> list[nn.Parameter]:
    """Each parameter of the projector once."""
    found = [*vlm.loose, *(parameter for part in projector_modules(vlm) for parameter in part.parameters())]
    return list(dict.fromkeys(found))


def _layers(module: nn.Module) -> nn.ModuleList | None:
    """The longest list of layers in a module, of equal ones that with the most parameters; None without one."""
    return max((inner for inner in module.modules() if isinstance(inner, nn.ModuleList)), key=_length, default=None)


def _length(layers: nn.ModuleList | None) -> tuple[int, int]:
    return (0, 0) if layers is None else (len(layers), sum(parameter.numel() for parameter in layers.parameters()))


def _beside(module: nn.Module, layers: nn.Module, width: int) -> Iterator[nn.Module]:
    """Modules outside of `layers`, the outermost ones without them, with a linear that gives `width` values."""
    for child in module.children():
        if child is layers:
            continue
        if any(inner is layers for inner in child.modules()):
            yield from _beside(child, layers, width)
        elif any(isinstance(inner, nn.Linear) and inner.out_features == width for inner in child.modules()):
            yield child


def _image_side(vlm: ReadyVlm, config: ReadyRunConfig) -> list[nn.Parameter]:
    """What `tune.tower` trains of the image side; adapters are put into it."""
    tune = config.tune
    if tune.tower == "frozen":
        return []
    if tune.tower == "full":
        return list(vlm.image_side)
    settings = LoraSettings(tune.tower_rank, tune.tower_alpha, tune.tower_dropout)
    modules = vlm.image_modules() if tune.projector is None else [*_tower_modules(vlm)]
    found = [inject_adapter(part, settings) for part in modules if _has_layers(part)]
    return [parameter for parameters in found for parameter in parameters]


def _tower_modules(vlm: ReadyVlm) -> Iterator[nn.Module]:
    """The tower's layers: where its module holds the projector too, that gets no adapters."""
    projector = {id(part) for part in projector_modules(vlm)}
    for side in vlm.image_modules():
        layers = _layers(side)
        if id(side) not in projector and layers is not None:
            yield layers


def _has_layers(part: nn.Module) -> bool:
    """Whether a part has linears in repeated layers, which adapters go onto."""
    names = (name for name, inner in part.named_modules() if is_linear(inner))
    return any(word.isdigit() for name in names for word in name.split("."))
