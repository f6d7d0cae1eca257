"""LoRA adapters merged into the weights below them, or taken off."""

from collections.abc import Callable

import torch
from torch import nn
from transformers import PreTrainedModel

from llm.model.lora import LoraLinear, lora_layers
from llm.model.quantization import dense_linear, forget_quantisation, is_four_bit


@torch.no_grad()
def merge_adapters(module: nn.Module, dense: bool = True) -> None:
    """Add all adapters to their weights in place and remove them, so that plain linears are left.

    The sum is taken in fp32 and rounded once to the weight's dtype. A 4-bit weight becomes a dense one in its compute
    dtype: training computed with exactly these dequantised values, so that rounding is the only error (none in fp32,
    up to 2^-9 of each weight in bf16). With `dense`, 4-bit linears without an adapter become dense too.
    """
    replace_adapted(module, _merged, dense)


@torch.no_grad()
def strip_adapters(module: nn.Module) -> None:
    """Remove all adapters in place, and make 4-bit weights dense."""
    replace_adapted(module, _base_linear, dense=True)


@torch.no_grad()
def densify(module: nn.Module) -> None:
    """Replace 4-bit weights with dense ones, in place; adapters stay on them."""
    for _, layer in list(lora_layers(module)):
        layer.base_layer = _base_linear(layer)
    replace_adapted(module, lambda layer: layer, dense=True)


def replace_adapted(module: nn.Module, plain: Callable[[LoraLinear], nn.Module], dense: bool) -> None:
    """Replace every adapted linear with `plain` of it and, if `dense`, every other 4-bit linear with a dense one."""
    for parent in [parent for parent in module.modules() if not isinstance(parent, LoraLinear)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                parent.set_submodule(name, plain(child))
            elif dense and is_four_bit(child):
                parent.set_submodule(name, dense_linear(child))
    if next(lora_layers(module), None) is None:
        for inner in module.modules():
            vars(inner).pop("peft_config", None)  # peft leaves it on the module that it put adapters into
    for inner in module.modules():
        if isinstance(inner, PreTrainedModel) and not any(is_four_bit(part) for part in inner.modules()):
            forget_quantisation(inner)


def _base_linear(layer: LoraLinear) -> nn.Linear:
    """The linear below the adapter, dense."""
    return dense_linear(layer.base_layer) if is_four_bit(layer.base_layer) else layer.base_layer


def _merged(layer: LoraLinear) -> nn.Linear:
    """The linear with the adapter added to its weight."""
    linear = _base_linear(layer)
    linear.weight.copy_(linear.weight.float() + layer.delta())
    return linear
