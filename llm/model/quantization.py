"""bitsandbytes' 4-bit and 8-bit weights: how they are loaded, recognised and made dense again."""

from typing import TYPE_CHECKING, Protocol, TypeGuard

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from llm.errors import ModelError

if TYPE_CHECKING:
    from bitsandbytes.functional import QuantState


class QuantisedWeight(Protocol):
    """bitsandbytes' Params4bit: packed values and what they are dequantised with."""

    data: Tensor
    quant_state: "QuantState"

    @property
    def is_meta(self) -> bool: ...


class FourBitLinear(Protocol):
    """bitsandbytes' Linear4bit, which it leaves untyped, or its replacement in `llm.model.meta_model`."""

    in_features: int
    out_features: int
    weight: QuantisedWeight
    bias: Tensor | None
    compute_dtype: torch.dtype
    support_avx512bf16_for_cpu: bool


def quantization_config(bits: int, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How transformers is to load weights of 4 or 8 bits; None for 0, not quantised. Matrix products are in `dtype`.

    4: NF4 with double quantisation, as QLoRA (arXiv 2305.14314) has it. 8: LLM.int8 (arXiv 2208.07339). Raises
    ModelError where bitsandbytes is not installed.
    """
    if not bits:
        return None
    try:
        import bitsandbytes  # noqa: F401  # only to name the missing extra now
    except ImportError as cause:
        raise ModelError(f"{bits}-bit weights need bitsandbytes: pip install 'eyegraft[quant]'") from cause
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def forbid_repacking(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from rewriting 4-bit weights in the first forward pass in eval mode on a CPU.

    Where the CPU has AVX512-BF16, its Linear4bit then repacks the weight in place and rounds the scales to bf16: an
    evaluation between two steps would change the weights that training uses, no gradient flows through the packed
    form, and inputs that are no multiple of 64 crash (bitsandbytes 0.50.2, nn/modules.py, Linear4bit.forward).
    """
    for module in model.modules():
        if is_four_bit(module):
            module.support_avx512bf16_for_cpu = False


def is_four_bit(module: nn.Module) -> TypeGuard[FourBitLinear]:
    """Whether this is bitsandbytes' layer; known by its name, so that models without one need no bitsandbytes."""
    return type(module).__name__ == "Linear4bit"


def is_linear(module: nn.Module) -> bool:
    """A plain or 4-bit linear. Not a subclass: others read those subclasses' weights."""
    return type(module) is nn.Linear or is_four_bit(module)


def compute_dtype(linear: nn.Linear) -> torch.dtype:
    """The dtype that a plain or 4-bit linear multiplies in."""
    return linear.compute_dtype if is_four_bit(linear) else linear.weight.dtype


def dense_weight(quantised: FourBitLinear) -> Tensor:
    """[out, in] in the compute dtype: the dequantised weight. On the meta device a tensor of that shape."""
    dtype, weight = quantised.compute_dtype, quantised.weight
    if weight.is_meta:
        return torch.empty(quantised.out_features, quantised.in_features, dtype=dtype, device="meta")
    from bitsandbytes.functional import dequantize_4bit

    dense: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return dense.to(dtype)


def dense_linear(quantised: FourBitLinear) -> nn.Linear:
    """A frozen plain linear with the weight of a 4-bit one, in its compute dtype."""
    weight, bias = dense_weight(quantised), quantised.bias
    linear = nn.Linear(quantised.in_features, quantised.out_features, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().to(weight.dtype), requires_grad=False)
    return linear


def forget_quantisation(model: PreTrainedModel) -> None:
    """Remove what 4-bit loading marked the model with, so that the dense model is saved and moved as one."""
    for mark in ("hf_quantizer", "quantization_method", "is_loaded_in_4bit", "is_quantized"):
        vars(model).pop(mark, None)
    for config in (model.config, model.config.get_text_config()):
        vars(config).pop("quantization_config", None)
