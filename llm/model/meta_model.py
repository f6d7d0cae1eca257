"""Causal language models on torch's meta device: shapes and dtypes without values, from config.json alone.

What the modules would allocate, save for backward and multiply can be counted; nothing can be computed.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from llm.library_errors import as_model_error
from llm.model import hf_loaders, internlm2
from llm.model.model_folder import CONFIG_FILE, local_folder, read_model_config
from llm.model.size_limits import enforce, refuse_absurd, size_limit_of

META = torch.device("meta")
NF4_BLOCK = 64  # weights that share a scale (QLoRA, arXiv 2305.14314, section 3; bitsandbytes' default)
SCALE_BLOCK = 256  # scales that share a scale of their own: double quantisation


def on_meta_unless(weights: bool) -> AbstractContextManager[object]:
    """A context in which new tensors are on the meta device; without effect if the model gets its `weights`."""
    return nullcontext() if weights else META


def llm_on_meta(path: str, dtype: torch.dtype, four_bit: bool = False) -> PreTrainedModel:
    """The causal LM of a local folder or hub id on meta tensors, in eval mode; for `llm.model.pretrained.load_llm`.

    Raises ModelError for a folder that is no model folder, or whose config belongs to no causal LM.
    """
    folder = local_folder(path, (CONFIG_FILE,))
    settings = read_model_config(path, folder, weights=False)
    limit = size_limit_of(folder)
    refuse_absurd(folder / "config.json", settings, limit)
    limited = enforce(folder / "config.json", settings, limit)
    with as_model_error(f"{path}: config.json gives no causal language model"), META, limited:
        config = (
            internlm2.llama_config(settings)
            if settings["model_type"] == internlm2.MODEL_TYPE
            else hf_loaders.load_config(folder, AutoModelForCausalLM.__name__)
        )
        use_plain_rope(config)
        # `.to(dtype)` would also cast rotary frequencies, which are fp32.
        model = hf_loaders.empty_model(AutoModelForCausalLM, config, dtype=dtype)
    if four_bit:
        quantise(model)
    model.eval()
    return model


def use_plain_rope(config: PreTrainedConfig) -> None:
    """Replace rotary scalings that read the longest position, a value, by the default, which takes as much memory."""
    rope = vars(config).get("rope_parameters") or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        vars(config)["rope_parameters"] = {"rope_type": "default", "rope_theta": rope["rope_theta"]}


def quantise(model: PreTrainedModel) -> None:
    """Replace every linear but the head by `Linear4bit`, as transformers does with bitsandbytes."""
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not head:
            model.set_submodule(name, Linear4bit(module))


class Linear4bit(nn.Linear):
    """In place of bitsandbytes' layer, recognised by that name (`llm.model.quantization`): NF4's bytes without values.

    n weights take n / 2 bytes, a one-byte scale per 64 of them, a four-byte scale per 256 scales, and two tables.
    """

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__(dense.in_features, dense.out_features, bias=False, device=META)
        count = dense.weight.numel()
        scales = -(-count // NF4_BLOCK)
        self.compute_dtype = dense.weight.dtype
        self.weight = nn.Parameter(_empty(-(-count // 2), 1, dtype=torch.uint8), requires_grad=False)
        self.bias = dense.bias
        self.register_buffer("absmax", _empty(scales, dtype=torch.uint8))
        self.register_buffer("nested_absmax", _empty(-(-scales // SCALE_BLOCK), dtype=torch.float32))
        self.register_buffer("code", _empty(16, dtype=torch.float32))
        self.register_buffer("nested_code", _empty(256, dtype=torch.float32))
        self.register_buffer("offset", _empty(dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out] in the input's dtype."""
        product: Tensor = FourBitProduct.apply(x, (self.out_features, self.in_features), self.bias)
        return product


class _WithShape(Protocol):
    """autograd's context, which saves the shape [out, in] for backward."""

    shape: tuple[int, int]


class FourBitProduct(torch.autograd.Function):
    """bitsandbytes' MatMul4Bit (0.50.2, autograd/_functions.py): the weight is dequantised for each product.

    No input is saved for backward, which dequantises the weight again.
    """

    @staticmethod
    def forward(ctx: _WithShape, x: Tensor, shape: tuple[int, int], bias: Tensor | None) -> Tensor:
        ctx.shape = shape
        return nn.functional.linear(x, x.new_empty(shape), bias)

    @staticmethod
    def backward(ctx: _WithShape, gradient: Tensor) -> tuple[Tensor, None, None]:
        return torch.matmul(gradient, gradient.new_empty(ctx.shape)), None, None


def _empty(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=META)
