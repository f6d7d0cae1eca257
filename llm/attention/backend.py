"""The kernels of packed attention, and the device type whose memory limits a step follows.

`TorchBackend` reads both off the tensors. A model passes its backend down with every pack, so that a step can run
with other kernels, or within another device's limits, than those of the device that its tensors are on.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention.varlen_kernels import HALF, Call, find_kernel

Sdpa = Callable[..., Tensor]  # called as torch's scaled_dot_product_attention


class Backend(Protocol):
    """What packed attention, lean layers and the chunked loss ask about the device."""

    @property
    def sdpa(self) -> Sdpa:
        """Fused attention of one rectangular group."""

    def device_type(self, states: Tensor) -> str:
        """Whose limits hold for tensors like this one, such as "cpu" or "cuda"."""

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """The varlen kernel for these queries; None: attention runs on padded groups."""


class TorchBackend:
    """The kernels that are installed, and the device that the tensors are on."""

    @property
    def sdpa(self) -> Sdpa:
        """torch's own."""
        return scaled_dot_product_attention

    def device_type(self, states: Tensor) -> str:
        """The tensor's."""
        return states.device.type

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """On CUDA, in bf16 or fp16 and without dropout: the fastest that can be imported."""
        kernel = find_kernel() if query.is_cuda and query.dtype in HALF and dropout == 0 else None
        return None if kernel is None else kernel.call


TORCH: Backend = TorchBackend()
