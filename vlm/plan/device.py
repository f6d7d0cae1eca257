"""Where a run is to fit, and how fast that is."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.model.precision import ANY_CARD, Hardware, dtype_of, this_cpu, this_machine
from llm.planning.step_forecast import Kind

GIB = 2**30
UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": GIB, "TIB": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
SIDE = 2048  # of the matrices whose product tells a CPU's speed
SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run is to fit."""

    kind: Kind
    bytes: int

    def __str__(self) -> str:
        return f"{'a card' if self.kind == 'card' else 'this CPU'} of {self.bytes / GIB:.2f} GiB"


@dataclass(frozen=True, slots=True)
class Speed:
    """Operations a second, and whose word that is."""

    flops_per_s: float
    source: str


def find_device(text: str) -> Device:
    """`8GiB` is a card of that memory, `cpu` this machine; empty: its first card or, without one, its CPU."""
    if not text and torch.cuda.is_available():
        return Device("card", torch.cuda.get_device_properties(0).total_memory)
    if text in ("", "cpu"):
        return Device("cpu", _memory())
    match = SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in UNITS:
        raise ConfigError(f"--device: found {text!r}; write a card's memory as 8GiB or 24GB, or cpu")
    return Device("card", int(float(match[1]) * UNITS[match[2].upper()]))


def find_hardware(text: str) -> Hardware:
    """Who multiplies on the device of that text: this machine, or a card as they are today."""
    if not text:
        return this_machine()
    return this_cpu() if text == "cpu" else ANY_CARD


def _memory() -> int:
    """Bytes of this machine's memory."""
    first = Path("/proc/meminfo").read_text(encoding="ascii").partition("\n")[0]  # MemTotal:  24610000 kB
    return int(first.split()[1]) * 1024


def speed_of(device: Device, tflops: float, config: RunConfig) -> Speed | None:
    """What was stated; on a CPU else what it reaches now; None for a card that nobody told about."""
    if tflops:
        return Speed(tflops * 1e12, "which is assumed (--tflops)")
    if device.kind == "card":
        return None
    return Speed(products_a_second(dtype_of(config)), f"which {SIDE} x {SIDE} products reach here now")


def products_a_second(dtype: torch.dtype) -> float:
    """Operations a second of this CPU's matrix products, the best of half a second."""
    left, right = torch.ones(2, SIDE, SIDE, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best
