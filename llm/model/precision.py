"""The dtype that a run computes in: `train.dtype: auto` is bf16 where the hardware multiplies it, else fp32.

It depends on the hardware alone, never on a timing, which a busy machine would change. `EYEGRAFT_DTYPE` comes first.
"""

import platform
from dataclasses import dataclass
from typing import TypeVar

import torch

from llm.config.dtype_variable import Dtype, asked_dtype
from llm.config.schema import RunConfig
from llm.devices import accelerator

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
X86 = ("x86_64", "AMD64", "i386", "i686")
SomeRun = TypeVar("SomeRun", bound=RunConfig)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the dtype of a run depends on: a GPU or, without one, the CPU."""

    card: str = ""  # the GPU's name; empty without one
    card_bf16: bool = False  # not emulated
    machine: str = "x86_64"  # the CPU's architecture, `platform.machine()`
    avx512_bf16: bool = False
    amx: bool = False
    onednn_bf16: bool = False  # not used on x86, where it is also true for AVX512 without bf16 products
    asked: Dtype | None = None  # by EYEGRAFT_DTYPE, whatever the hardware is fast in

    @property
    def has_bf16(self) -> bool:
        """Whether there are bf16 matrix products in hardware."""
        if self.card:
            return self.card_bf16
        return self.avx512_bf16 or self.amx if self.machine in X86 else self.onednn_bf16

    @property
    def bf16_units(self) -> str:
        """The x86 instruction set with bf16 products; empty without one."""
        return "AMX" if self.amx else "AVX512_BF16" if self.avx512_bf16 else ""

    @property
    def auto_dtype(self) -> Dtype:
        """The dtype of `train.dtype: auto`, and of model folders that are opened."""
        return self.asked or ("bf16" if self.has_bf16 else "fp32")

    @property
    def reason(self) -> str:
        """Why, as a clause for messages."""
        return "EYEGRAFT_DTYPE asks for it" if self.asked else self.found

    @property
    def found(self) -> str:
        """What the hardware has."""
        if self.card:
            return f"{self.card} multiplies bf16" if self.has_bf16 else f"{self.card} has no bf16 products of its own"
        if self.machine not in X86:
            return f"this {self.machine} CPU " + ("multiplies bf16" if self.has_bf16 else "has no bf16 products")
        if self.has_bf16:
            return f"this CPU multiplies bf16, by {self.bf16_units}"
        # Two cores of an AMD EPYC, AVX2, torch 2.14.1: bf16 30 GFLOP/s forward, 1 to 2 backward; fp32 120.
        return "this CPU has no bf16 products, AVX512_BF16 or AMX; fp32 is many times faster here"


# Assumed for a GPU of which only the memory is known. A T4 or a V100, which are older, would use fp32.
ANY_CARD = Hardware("a card of Ampere or later", card_bf16=True)


def this_machine() -> Hardware:
    """The hardware that this process computes on. Raises ConfigError for an EYEGRAFT_DTYPE that is no dtype."""
    computes = accelerator()
    if not computes.names:
        return this_cpu()
    return Hardware(computes.names[0], computes.has_bf16, asked=asked_dtype())


def this_cpu() -> Hardware:
    """The CPU of this machine."""
    # torch has no public names for these yet; one built without oneDNN (macOS) lacks the last.
    return Hardware(
        machine=platform.machine(),
        avx512_bf16=torch.cpu._is_avx512_bf16_supported(),
        amx=torch.cpu._is_amx_tile_supported(),
        onednn_bf16=torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        asked=asked_dtype(),
    )


def choose_dtype(config: SomeRun, hardware: Hardware, begun: Dtype | None = None) -> tuple[SomeRun, str]:
    """The recipe in bf16 or fp32, and a line for the log with the reason, or with advice; empty where there is none.

    `begun` is the dtype of the run in the recipe's folder, if there is one: under `auto` that run continues in it.
    """
    asked = config.train.dtype
    if asked != "auto":
        slow = asked == "bf16" and not hardware.has_bf16
        return config, f"dtype: bf16 (the recipe's), but {hardware.found}: set train.dtype: auto" if slow else ""
    if begun is None:
        return with_dtype(config, hardware.auto_dtype), f"dtype: {hardware.auto_dtype} (auto: {hardware.reason})"
    line = f"dtype: {begun} (auto: this run began with it)"
    if begun == "bf16" and not hardware.has_bf16:
        line += f", but {hardware.found}: choose another `out` to start again in fp32"
    return with_dtype(config, begun), line


def with_dtype(config: SomeRun, dtype: Dtype) -> SomeRun:
    """The recipe with `train.dtype` set."""
    return config.model_copy(update={"train": config.train.model_copy(update={"dtype": dtype})})


def dtype_of(config: RunConfig) -> torch.dtype:
    """The dtype of the recipe's weights; an unresolved `auto` is this machine's."""
    asked = config.train.dtype
    return DTYPES[this_machine().auto_dtype if asked == "auto" else asked]
