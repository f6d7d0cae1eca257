"""bitsandbytes' NF4 linears: found, and kept in the layout that training needs."""

from typing import Any

import torch
from torch import nn


def four_bit_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """bitsandbytes' 4-bit linears by name; bitsandbytes is imported only when there are some."""
    if not any(parameter.dtype == torch.uint8 for parameter in model.parameters()):
        return []
    from bitsandbytes.nn.modules import Linear4bit

    return [(name, module) for name, module in model.named_modules() if isinstance(module, Linear4bit)]


def keep_layout(model: nn.Module) -> None:
    """Forbid the repacking that bitsandbytes 0.50 does on CPUs with AVX512-BF16 at the first pass in eval mode.

    The repacked kernel has no gradient: after one probe or validation everything below the layer would get none,
    silently. It also rounds the weights' scales to bf16, and refuses widths that are no multiple of 64.
    """
    for _, layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = False
