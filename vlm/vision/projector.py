"""The projector: fixed standardisation of the tower's features, then linears with GELU between them.

It is the `multi_modal_projector` of transformers' class, so the assembled model uses it whichever way it is called; at
export `fold_statistics` turns it into that class's own two linears, exactly.
"""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from llm.errors import ModelError
from llm.files.regular_files import check_regular
from llm.library_errors import as_model_error
from vlm.config import VlmModelConfig

# Least std of a channel, as a share of the rms of all stds: a channel that hardly varies on the sample would be scaled
# up too far. Measured on EfficientNet-Lite0 with statistics of 64 easy-VQA images: the largest of 32,000 other feature
# vectors has 90 times the median norm at 0.01, 17 times at 0.1; the median is the same.
STD_FLOOR = 0.1


class Projector(nn.Module):
    """[..., features] -> [..., llm hidden]. `mean` and `std` are buffers: saved, never trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, widths: list[int]) -> None:
        """`widths`: channels of the features, of hidden layers, and of the LLM; a linear between each two."""
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.register_buffer("mean", torch.zeros(widths[0]))
        self.register_buffer("std", torch.ones(widths[0]))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise in fp32, project in the linears' dtype, whatever the dtype of the features."""
        hidden = ((features.float() - self.mean) / self.std).to(self.dtype)
        for index, linear in enumerate(self.linears):
            hidden = linear(nn.functional.gelu(hidden) if index else hidden)
        return hidden

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the linears."""
        return next(self.linears.parameters()).dtype

    @property
    def hidden(self) -> int:
        """Width of its output: the LLM's hidden size."""
        return len(list(self.linears.parameters())[-1])

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the standardisation; before training only, since the linears are trained on its output."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    @torch.no_grad()
    def scale_to(self, spread: float, features: Tensor) -> None:
        """Scale the last linear so that the outputs for `features` have standard deviation `spread`."""
        last = list(self.linears)[-1]
        factor = spread / self(features).float().std()
        for parameter in last.parameters():
            parameter.mul_(factor)


class Newline(nn.Module):
    """The trained row that closes each line of an image's tiles; a module, so that ZeRO-3 gathers its weight."""

    def __init__(self, hidden: int, spread: float) -> None:
        """Random values with standard deviation `spread`, drawn under the global seed."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden) * spread)

    def forward(self, count: int) -> Tensor:
        """[count, llm hidden]."""
        return self.weight.expand(count, -1)


def build_projector(config: VlmModelConfig, features: int, hidden: int) -> Projector:
    """A fresh projector as the recipe says, fp32, torch's default initialisation under the global seed."""
    middle = config.projector_hidden or hidden
    return Projector([features, *[middle] * (_depth(config) - 1), hidden])


def export_obstacle(config: VlmModelConfig, hidden: int) -> str | None:
    """Why transformers' classes do not support this projector for an LLM of width `hidden`; None if they do."""
    if config.pool > 1:
        return f"model.pool is {config.pool}: transformers' Llava and FastVlm project every patch of the grid"
    if _depth(config) > 2:
        return f"model.projector is {config.projector}: transformers' Llava and FastVlm have two linears"
    if _depth(config) == 2 and config.projector_hidden not in (0, hidden):
        return (
            f"model.projector_hidden is {config.projector_hidden}: transformers' Llava and FastVlm "
            f"have the LLM's width there, {hidden}"
        )
    return None


def activation(config: VlmModelConfig) -> str:
    """transformers' `projector_hidden_act`; a single linear is exported as one followed by the identity."""
    return "linear" if _depth(config) == 1 else "gelu"


def fold_statistics(projector: Projector) -> dict[str, Tensor]:
    """State dict of a plain Linear-activation-Linear that equals the projector; computed in fp64, returned in fp32.

    W ((x - mean) / std) + b = (W / std) x + (b - W (mean / std)). For projectors without an `export_obstacle`.
    """
    linears = [linear for linear in projector.linears if isinstance(linear, nn.Linear)]
    assert len(linears) <= 2, "check export_obstacle first"
    mean, std = projector.mean.double(), projector.std.double()
    weight, bias = linears[0].weight.detach().double(), linears[0].bias.detach().double()
    state = {"linear_1.weight": weight / std, "linear_1.bias": bias - weight @ (mean / std)}
    if len(linears) == 2:
        state |= {"linear_2.weight": linears[1].weight.detach(), "linear_2.bias": linears[1].bias.detach()}
    else:
        state |= {"linear_2.weight": torch.eye(len(bias)), "linear_2.bias": torch.zeros(len(bias))}
    return {name: tensor.float() for name, tensor in state.items()}


@torch.no_grad()
def load_llava_projector(projector: Projector, file: Path) -> None:
    """Fill the linears from LLaVA's `mm_projector.bin`, or any file that holds its tensors among others.

    Their names end in `mm_projector.0.weight` and `mm_projector.2.weight`, or `mm_projector.weight` for a single
    linear. Raises ModelError when the file cannot be read or does not fit the recipe's projector.
    """
    with as_model_error(f"{file}: no file of tensors can be read"):
        check_regular(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
        state = {name.partition("mm_projector.")[2]: item for name, item in found.items() if "mm_projector." in name}
        sizes = {name: tensor.shape for name, tensor in state.items()}
    wanted = {
        f"{2 * number}.{part}" if len(projector.linears) > 1 else part: parameter
        for number, linear in enumerate(projector.linears)
        for part, parameter in linear.named_parameters()
    }
    if sizes != {name: item.shape for name, item in wanted.items()}:
        have = ", ".join(f"{name} {tuple(size)}" for name, size in sizes.items()) or "nothing"
        need = ", ".join(f"{name} {tuple(item.shape)}" for name, item in wanted.items())
        raise ModelError(f"{file}: holds {have} under mm_projector; this model's projector has {need}")
    for name, parameter in wanted.items():
        parameter.copy_(state[name])


def feature_statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] per channel over feature batches [..., C], read one at a time.

    Sums are in fp64, around the first batch's mean (sums of squares around zero would cancel); fp32 out, std floored.
    """
    count, shift, total, squares = 0, None, torch.zeros(()), torch.zeros(())
    for batch in batches:
        vectors = batch.detach().double().flatten(0, -2)
        if shift is None:
            shift = vectors.mean(0)
        vectors = vectors - shift
        count, total, squares = count + len(vectors), total + vectors.sum(0), squares + vectors.square().sum(0)
    assert shift is not None, "statistics need at least one batch"
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    floor = STD_FLOOR * std.square().mean().sqrt()
    std = std.clamp_min(float(floor)) if floor > 0 else torch.ones_like(std)
    return (mean + shift).float(), std.float()


def _depth(config: VlmModelConfig) -> int:
    """Number of linears: `linear` is 1, `mlp3x_gelu` is 3."""
    return 1 if config.projector == "linear" else int(config.projector.removeprefix("mlp").removesuffix("x_gelu"))
