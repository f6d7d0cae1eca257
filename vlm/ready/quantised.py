"""A ready model whose language model is held in 4 or 8 bits: how it is loaded, and computed in fp32 for its proof."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedModel

from llm.files.untrusted_json import read_object
from llm.model import hf_loaders
from llm.model.meta_model import META, use_plain_rope
from llm.model.quantization import is_four_bit, quantization_config
from llm.model.size_limits import enforce, size_limit_of

SHARE = {4: 0.53, 8: 1.0}  # bytes of a weight: NF4 has a scale of a byte for 64 weights


def text_alone(folder: Path, bits: int, dtype: torch.dtype) -> tuple[BitsAndBytesConfig | None, int]:
    """How the folder's language model is quantised alone, without head, tower and projector; None for 0 bits.

    Also the bytes that all weights take then, others than its linears in `dtype`. Raises ModelError where bitsandbytes
    is not installed, and for sizes that the folder's weights cannot fill.
    """
    found = quantization_config(bits, dtype)
    if found is None:  # files hold two bytes a number as a rule
        return None, sum(file.stat().st_size for file in folder.glob("*.safetensors")) * dtype.itemsize // 2
    empty = empty_model(folder)
    text = cast(nn.Module, empty.get_decoder())
    linears = {id(inner): inner.weight.numel() for inner in text.modules() if isinstance(inner, nn.Linear)}
    found.llm_int8_skip_modules = [
        name for name, inner in empty.named_modules() if isinstance(inner, nn.Linear) and id(inner) not in linears
    ]
    every, rounded = sum(parameter.numel() for parameter in empty.parameters()), sum(linears.values())
    return found, (every - rounded) * dtype.itemsize + int(rounded * SHARE[bits])


def empty_model(folder: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The folder's model on the meta device. Raises ModelError for sizes that the folder's weights cannot fill."""
    file = folder / "config.json"
    config = hf_loaders.load_config(folder, AutoModelForImageTextToText.__name__)
    use_plain_rope(config.get_text_config())
    with META, enforce(file, read_object(file), size_limit_of(folder)):
        return hf_loaders.empty_model(AutoModelForImageTextToText, config, dtype=dtype)


@contextmanager
def products_in_fp32(model: nn.Module) -> Iterator[None]:
    """Inside, 4-bit linears multiply in fp32, as all others do while a model is proved."""
    layers = [module for module in model.modules() if is_four_bit(module)]
    before = [layer.compute_dtype for layer in layers]
    try:
        for layer in layers:
            layer.compute_dtype = torch.float32
        yield
    finally:
        for layer, dtype in zip(layers, before, strict=True):
            layer.compute_dtype = dtype
