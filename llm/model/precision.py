"""In which dtype a run computes: `train.dtype: auto`, settled by what the hardware multiplies.

The answer follows from the machine alone, never from a timing: a busy hour must not train in another dtype.
"""

import platform
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

from llm.config.schema import RunConfig

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
X86 = ("x86_64", "AMD64", "i386", "i686")
Dtype = Literal["bf16", "fp32"]
SomeRun = TypeVar("SomeRun", bound=RunConfig)


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where a run computes, as far as its dtype depends on it: a card or, without one, the CPU."""

    card: str = ""  # its name
    card_bf16: bool = False  # by units of its own, not emulated
    machine: str = "x86_64"  # the CPU's architecture, as `platform.machine()` has it
    avx512_bf16: bool = False
    amx: bool = False
    onednn_bf16: bool = False  # on x86 oneDNN says yes to AVX512 without bf16 products too: not asked there

    @property
    def bf16(self) -> bool:
        """Whether bf16 is multiplied here."""
        if self.card:
            return self.card_bf16
        return self.avx512_bf16 or self.amx if self.machine in X86 else self.onednn_bf16

    @property
    def units(self) -> str:
        """What multiplies bf16 on an x86 CPU; empty: nothing does."""
        return "AMX" if self.amx else "AVX512_BF16" if self.avx512_bf16 else ""

    @property
    def natural(self) -> Dtype:
        """What `auto` means here."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def why(self) -> str:
        """The reason, as a clause."""
        if self.card:
            return f"{self.card} multiplies bf16" if self.bf16 else f"{self.card} has no bf16 products of its own"
        if self.machine not in X86:
            return f"this {self.machine} CPU " + ("multiplies bf16" if self.bf16 else "has no bf16 products")
        if self.bf16:
            return f"this CPU multiplies bf16, by {self.units}"
        # Two cores of an AMD EPYC, AVX2, torch 2.14.1: bf16 30 GFLOP/s forward, 1 to 2 backward; fp32 120.
        return "this CPU has no bf16 products, AVX512_BF16 or AMX; fp32 is many times faster here"


# What a card is taken for whose memory alone is known. A T4 or a V100, which are older, would take fp32.
ANY_CARD = Hardware("a card of Ampere or later", card_bf16=True)


def this_machine() -> Hardware:
    """Where this process computes."""
    if not torch.cuda.is_available():
        return this_cpu()
    return Hardware(torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False))


def this_cpu() -> Hardware:
    """This machine without its cards."""
    # torch has no public names for these yet; one built without oneDNN (macOS) lacks the last.
    return Hardware(
        machine=platform.machine(),
        avx512_bf16=torch.cpu._is_avx512_bf16_supported(),
        amx=torch.cpu._is_amx_tile_supported(),
        onednn_bf16=torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    )


def settle(config: SomeRun, hardware: Hardware, begun: Dtype | None = None) -> tuple[SomeRun, str]:
    """The recipe in bf16 or fp32, and a line that says why or what to do about it; empty where there is nothing to say.

    `begun` is the dtype of the run that the recipe's folder holds, if it holds one: under `auto` it goes on in that.
    """
    asked = config.train.dtype
    if asked != "auto":
        slow = asked == "bf16" and not hardware.bf16
        return config, f"dtype: bf16 (the recipe's), but {hardware.why}: set train.dtype: auto" if slow else ""
    if begun is None:
        return in_dtype(config, hardware.natural), f"dtype: {hardware.natural} (auto: {hardware.why})"
    line = f"dtype: {begun} (auto: this run began in it)"
    if begun == "bf16" and not hardware.bf16:
        line += f", but {hardware.why}: choose another `out` to begin anew in fp32"
    return in_dtype(config, begun), line


def in_dtype(config: SomeRun, dtype: Dtype) -> SomeRun:
    """The recipe in this dtype."""
    return config.model_copy(update={"train": config.train.model_copy(update={"dtype": dtype})})


def dtype_of(config: RunConfig) -> torch.dtype:
    """What the recipe's weights are made of; `auto`, where nobody settled it before, is what this machine says."""
    asked = config.train.dtype
    return DTYPES[this_machine().natural if asked == "auto" else asked]
