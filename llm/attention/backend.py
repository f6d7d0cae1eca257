"""The kernels of packed attention, and the device type whose memory limits a step follows.

`TorchBackend` derives both from the tensors. A model passes its backend down with every pack, so that a step can run
with other kernels, or within another device's limits, than those of the device that its tensors are on.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llm.attention.varlen_kernels import HALF, Call, find_kernel
from llm.devices import CPU, VARLEN

Sdpa = Callable[..., Tensor]  # called as torch's scaled_dot_product_attention


class Backend(Protocol):
    """The properties of a device that packed attention, lean layers and the chunked loss depend on."""

    @property
    def sdpa(self) -> Sdpa:
        """Fused attention of one padded group."""

    def device_type(self, states: Tensor) -> str:
        """The device type, such as "cpu", whose limits apply to tensors like this one."""

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """The varlen kernel for these queries; None where attention is to run on padded groups."""

    def cascades(self, query: Tensor) -> bool:
        """Whether prefixes are multiplied once with all their branches, which has no backward pass."""


class TorchBackend:
    """The kernels that are installed, and the device that the tensors are on."""

    @property
    def sdpa(self) -> Sdpa:
        """torch's own function."""
        return scaled_dot_product_attention

    def device_type(self, states: Tensor) -> str:
        """The type of the tensor's device."""
        return states.device.type

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """The fastest kernel that can be imported; None except on CUDA, in bf16 or fp16 and without dropout."""
        kernel = find_kernel() if query.device.type in VARLEN and query.dtype in HALF and dropout == 0 else None
        return None if kernel is None else kernel.call

    def cascades(self, query: Tensor) -> bool:
        """Never: a backward pass may follow."""
        return False


class ReadingBackend(TorchBackend):
    """torch's, for packs that are read without gradients."""

    def cascades(self, query: Tensor) -> bool:
        """On a CPU."""
        return query.device.type == CPU


TORCH: Backend = TorchBackend()
READING: Backend = ReadingBackend()
