"""Writes a GGUF file one tensor at a time, so that a model larger than the free memory can be written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize
from numpy.typing import NDArray
from torch import Tensor

KINDS = {
    "fp32": GGMLQuantizationType.F32,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
}
FILE_TYPES = {
    "fp32": LlamaFileType.ALL_F32,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor under llama.cpp's name. `exact` ones stay fp32, as vectors do: positions and the patch convolution.

    `change` keeps the shape and is applied while writing, so that at most one changed tensor is in memory.
    """

    name: str
    tensor: Tensor
    exact: bool = False
    change: Callable[[Tensor], Tensor] | None = None

    def values(self) -> NDArray[np.float32]:
        """The values to write, before rounding."""
        changed = self.tensor if self.change is None else self.change(self.tensor)
        return np.asarray(changed.detach().float().cpu().contiguous().numpy(), np.float32)


@contextmanager
def writer(file: Path, architecture: str) -> Iterator[GGUFWriter]:
    """A GGUF writer that is closed on exit."""
    opened = GGUFWriter(file, architecture)
    try:
        yield opened
    finally:
        opened.close()


def write_tensors(file: GGUFWriter, entries: list[GgufTensor], dtype: str) -> None:
    """Write the header, the fields added so far, and the tensors; matrices in `dtype` (`fp32`, `bf16` or `q8_0`)."""
    for entry in entries:
        kind = _kind(entry, dtype)
        block, size = GGML_QUANT_SIZES[kind]
        length = entry.tensor.numel() // block * size
        file.add_tensor_info(entry.name, tuple(entry.tensor.shape), np.dtype(np.float32), length, kind)
    file.add_file_type(FILE_TYPES[dtype].value)
    file.add_quantization_version(2)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_ti_data_to_file()
    for entry in entries:
        file.write_tensor_data(quantize(entry.values(), _kind(entry, dtype)))


def _kind(entry: GgufTensor, dtype: str) -> GGMLQuantizationType:
    """Type of a tensor; matrices whose rows are no multiple of the block length are stored in 16 bits."""
    kind = KINDS[dtype]
    if entry.exact or entry.tensor.ndim < 2:
        return GGMLQuantizationType.F32
    if entry.tensor.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        return GGMLQuantizationType.F16
    return kind
