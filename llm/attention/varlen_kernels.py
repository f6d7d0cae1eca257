"""Kernels for attention over sequences of many lengths, on CUDA: which one is installed, behind one call.

Not run on this project's own machines, which have no GPU: the tests hold the plan, the call's arguments and the choice
to a slow reference, and skip what needs a card.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)  # what the kernels take


@dataclass(frozen=True, slots=True)
class Lengths:
    """n spans in the pack's order: span i's queries are rows cu_queries[i] to cu_queries[i + 1] of the pack.

    Its keys stand as many rows behind `key_rows`, or are the same rows where that is None. Causal from the bottom
    right: a span's last query sees all its keys, so a branch sees its whole prefix and itself.
    """

    cu_queries: Tensor  # [n + 1], int32
    cu_keys: Tensor  # [n + 1], int32
    max_queries: int
    max_keys: int
    key_rows: Tensor | None  # [all keys]

    def to(self, device: torch.device) -> "Lengths":
        """The same lengths on another device."""
        rows = None if self.key_rows is None else self.key_rows.to(device)
        return Lengths(self.cu_queries.to(device), self.cu_keys.to(device), self.max_queries, self.max_keys, rows)


# Queries [T, heads, D], keys and values [all keys, kv_heads, D], lengths, scale -> [T, heads, D]
Call = Callable[[Tensor, Tensor, Tensor, Lengths, float], Tensor]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel and the name it is told by."""

    name: str
    call: Call


def varlen_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float, call: Call) -> Tensor:
    """[1, heads, T, D] and [1, kv_heads, T, D] twice -> [1, T, heads, D]."""
    queries, keys, values = (states[0].transpose(0, 1) for states in (query, key, value))
    if lengths.key_rows is not None:
        keys, values = keys.index_select(0, lengths.key_rows), values.index_select(0, lengths.key_rows)
    return call(queries.contiguous(), keys.contiguous(), values.contiguous(), lengths, scale)[None]


@cache
def find_kernel() -> Kernel | None:
    """The first that can be imported: flash-attn 4, 3, 2, then torch's own; None without CUDA."""
    if not torch.cuda.is_available():
        return None
    return next(kernels(), None)


def kernels() -> Iterator[Kernel]:
    """All that can be imported, the fastest first."""
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
        attended: Tensor = output[0] if isinstance(output, tuple) else output  # 3 and 4 may give the sums as well
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
            window_size=(-1, 0),  # torch's way to say causal
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
    """Which attention packs get on a device in a dtype, and why."""
    if device.type != "cuda":
        return f"re-padded groups; varlen kernels need CUDA, this is {device.type}"
    if dtype not in HALF:
        return f"re-padded groups through SDPA; varlen kernels take bf16 and fp16, this is {dtype}"
    kernel = find_kernel()
    if kernel is None:
        return "re-padded groups through SDPA; no varlen kernel can be imported (pip install flash-attn)"
    return f"{kernel.name}, the first of {', '.join(name for name, _, _ in KNOWN)} that can be imported"
