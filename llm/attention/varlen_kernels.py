"""Variable-length attention kernels on CUDA, with one call signature for all, and the choice of the installed one.

The project's own machines have no GPU: tests compare the plan, the arguments of the call and the choice with a slow
reference, and skip what needs a GPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from llm.devices import VARLEN, accelerator

HALF = (torch.bfloat16, torch.float16)  # the dtypes that the kernels accept


@dataclass(frozen=True, slots=True)
class Lengths:
    """n spans in the pack's order: the queries of span i are the positions cu_queries[i] to cu_queries[i + 1].

    Its keys are the positions key_positions[cu_keys[i] : cu_keys[i + 1]], or its queries' positions where that is None.
    The causal mask is aligned to the bottom right: the last query of a span attends to all its keys, so a branch
    attends to all of its prefix and causally to itself.
    """

    cu_queries: Tensor  # [n + 1], int32
    cu_keys: Tensor  # [n + 1], int32
    max_queries: int
    max_keys: int
    key_positions: Tensor | None  # [all keys]

    def to(self, device: torch.device) -> "Lengths":
        """The same lengths on another device."""
        positions = None if self.key_positions is None else self.key_positions.to(device)
        return Lengths(self.cu_queries.to(device), self.cu_keys.to(device), self.max_queries, self.max_keys, positions)


# Queries [T, heads, D], keys and values [all keys, kv_heads, D], lengths, scale -> [T, heads, D]
Call = Callable[[Tensor, Tensor, Tensor, Lengths, float], Tensor]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel and its name in messages."""

    name: str
    call: Call


def varlen_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float, call: Call) -> Tensor:
    """Queries [1, heads, T, D], keys and values [1, kv_heads, T, D] -> [1, T, heads, D], by the kernel `call`."""
    queries, keys, values = (states[0].transpose(0, 1) for states in (query, key, value))
    if lengths.key_positions is not None:
        keys, values = keys.index_select(0, lengths.key_positions), values.index_select(0, lengths.key_positions)
    return call(queries.contiguous(), keys.contiguous(), values.contiguous(), lengths, scale)[None]


@cache
def find_kernel() -> Kernel | None:
    """The first kernel that can be imported of flash-attn 4, 3 and 2 and torch's own; None without CUDA."""
    return next(kernels(), None) if accelerator().varlen_kernels else None


def kernels() -> Iterator[Kernel]:
    """All kernels that can be imported, the fastest first."""
    for name, module, wrap in KNOWN:
        try:
            found = import_module(module)
        except ImportError:
            continue
        yield Kernel(name, wrap(found))


def _flash(module: Any) -> Call:
    def call(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
        output = module.flash_attn_varlen_func(
            query,
            key,
            value,
            cu_seqlens_q=lengths.cu_queries,
            cu_seqlens_k=lengths.cu_keys,
            max_seqlen_q=lengths.max_queries,
            max_seqlen_k=lengths.max_keys,
            softmax_scale=scale,
            causal=True,
        )
        attended: Tensor = output[0] if isinstance(output, tuple) else output  # 3 and 4 may also return the log-sum-exp
        return attended

    return call


def _torch(module: Any) -> Call:
    def call(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
        attended: Tensor = module.varlen_attn(
            query,
            key,
            value,
            lengths.cu_queries,
            lengths.cu_keys,
            lengths.max_queries,
            lengths.max_keys,
            scale=scale,
            window_size=(-1, 0),  # causal
            enable_gqa=True,
        )
        return attended

    return call


KNOWN: tuple[tuple[str, str, Callable[[Any], Call]], ...] = (
    ("flash-attn 4", "flash_attn.cute", _flash),
    ("flash-attn 3", "flash_attn_interface", _flash),
    ("flash-attn 2", "flash_attn", _flash),
    ("torch varlen_attn", "torch.nn.attention.varlen", _torch),
)


def describe(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> str:
    """The attention that runs on a device in a dtype, and why; for logs."""
    if device.type not in VARLEN:
        return f"padded groups; varlen kernels need CUDA, this is {device.type}"
    if dtype not in HALF:
        return f"padded groups through SDPA; varlen kernels support bf16 and fp16, this is {dtype}"
    kernel = find_kernel()
    if kernel is None:
        return "padded groups through SDPA; no varlen kernel can be imported (pip install flash-attn)"
    return f"{kernel.name}, the first of {', '.join(name for name, _, _ in KNOWN)} that can be imported"
