"""bitsandbytes' 4-bit and 8-bit weights: how they are loaded, recognised and made dense again."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from llm.errors import ModelError

if TYPE_CHECKING:
    from bitsandbytes.functional import QuantState


BNB_LINEAR = "Linear4bit"


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


class _WithLayer(Protocol):
    """autograd's context, which saves the layer for backward."""

    layer: FourBitLinear


class _ExactProduct(torch.autograd.Function):
    """x W' with the weight dequantised for each product, in backward too: nothing of its size is saved."""

    @staticmethod
    def forward(ctx: _WithLayer, x: Tensor, layer: FourBitLinear, bias: Tensor | None) -> Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, dense_weight(layer), bias)

    @staticmethod
    def backward(ctx: _WithLayer, gradient: Tensor) -> tuple[Tensor, None, None]:
        return torch.matmul(gradient, dense_weight(ctx.layer)), None, None


class ExactLinear4bit(nn.Linear):
    """A 4-bit linear whose product is that of `dense_weight`, in place of bitsandbytes' where that reads rows wrongly.

    bitsandbytes 0.50.2 restores NF4 wrongly on CPUs with AVX-512 where a weight's rows are a multiple of 16 and none
    of its block of 64: measured, by up to the largest weight of a block. Over one row of all values it is exact.
    """

    def __init__(self, layer: FourBitLinear) -> None:
        nn.Module.__init__(self)  # the weight is the layer's: nn.Linear's own would be allocated for nothing
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.compute_dtype, self.support_avx512bf16_for_cpu = layer.compute_dtype, False
        self.weight, self.bias = cast(nn.Parameter, layer.weight), cast(nn.Parameter, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out] in the input's dtype."""
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        product: Tensor = _ExactProduct.apply(x.to(self.compute_dtype), self, bias)
        return product.to(x.dtype)


def read_rows_exactly(model: nn.Module) -> None:
    """Replace, in place, 4-bit linears that bitsandbytes would compute wrongly on this CPU."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return
    for name, module in list(model.named_modules()):
        if type(module).__name__ == BNB_LINEAR and is_four_bit(module) and misreads_rows(module.in_features):
            model.set_submodule(name, ExactLinear4bit(module))


def misreads_rows(width: int) -> bool:
    """Whether bitsandbytes' AVX-512 kernel restores a weight with rows of `width` values wrongly."""
    return width % 16 == 0 and width % 64 != 0


def quantise(module: nn.Module, bits: int, dtype: torch.dtype) -> None:
    """Round the plain linears of a module's repeated layers to 4 or 8 bits, in place, also those below adapters.

    4-bit linears stay. Raises ModelError where bitsandbytes is not installed.
    """
    quantization_config(bits, dtype)  # for its message
    for name, linear in list(module.named_modules()):
        if type(linear) is nn.Linear and any(part.isdigit() for part in name.split(".")) and "lora_" not in name:
            module.set_submodule(name, _rounded(linear, bits, dtype))
    read_rows_exactly(module)
    forbid_repacking(module)


def _rounded(linear: nn.Linear, bits: int, dtype: torch.dtype) -> nn.Module:
    """bitsandbytes' layer with the values of a linear."""
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    options = {"has_fp16_weights": False} if bits == 8 else {"compute_dtype": dtype, "quant_type": "nf4"}
    kind = cast(Callable[..., nn.Module], Linear8bitLt if bits == 8 else Linear4bit)
    layer = kind(linear.in_features, linear.out_features, bias=linear.bias is not None, **options)
    layer.load_state_dict(linear.state_dict())
    return layer.to(linear.weight.device).requires_grad_(False).eval()  # `to` rounds


def forbid_repacking(model: nn.Module) -> None:
    """Stop bitsandbytes from rewriting 4-bit weights in the first forward pass in eval mode on a CPU.

    Where the CPU has AVX512-BF16, its Linear4bit then repacks the weight in place and rounds the scales to bf16: an
    evaluation between two steps would change the weights that training uses, no gradient flows through the packed
    form, and inputs that are no multiple of 64 crash (bitsandbytes 0.50.2, nn/modules.py, Linear4bit.forward).
    """
    for module in model.modules():
        if is_four_bit(module):
            module.support_avx512bf16_for_cpu = False


def is_four_bit(module: nn.Module) -> TypeGuard[FourBitLinear]:
    """Whether this is a 4-bit layer; bitsandbytes' is known by its name, so that others need no bitsandbytes."""
    return isinstance(module, ExactLinear4bit) or type(module).__name__ == BNB_LINEAR


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

    one_row = copy.copy(weight.quant_state)
    one_row.shape = torch.Size((1, quantised.out_features * quantised.in_features))  # see ExactLinear4bit
    dense: Tensor = dequantize_4bit(weight.data, one_row)
    return dense.reshape(quantised.out_features, quantised.in_features).to(dtype)


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
