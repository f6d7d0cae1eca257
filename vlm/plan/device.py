"""The device that a run is planned for: its memory and its speed."""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from llm.config.dtype_variable import asked_dtype
from llm.config.schema import RunConfig
from llm.devices import CPU, KINDS, accelerator
from llm.errors import ConfigError
from llm.model.precision import ANY_CARD, Hardware, dtype_of, this_cpu, this_machine
from llm.planning.step_forecast import Kind

GIB = 2**30
# A bare number, and G, are what card makers mean by "24 GB": GiB.
UNITS = {"": GIB, "G": GIB, "GIB": GIB, "GI": GIB, "GB": 10**9, "M": 2**20, "MIB": 2**20, "MB": 10**6, "TB": 10**12,
         "TIB": 2**40, "B": 1}  # fmt: skip
SMALLEST, LARGEST = GIB // 2, 2**40  # bytes of a card
SIZE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([A-Za-z]*)")
CARD = ("gpu", *(kind for kind in KINDS if kind != CPU))
SIDE = 2048  # of the square matrices whose product measures a CPU's speed
SECONDS = 0.5  # of measuring


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device and its memory in bytes."""

    kind: Kind
    bytes: int

    def __str__(self) -> str:
        return f"{'a card' if self.kind == 'card' else 'this CPU'} of {self.bytes / GIB:.2f} GiB"


@dataclass(frozen=True, slots=True)
class Speed:
    """Floating-point operations a second, and where the figure comes from."""

    flops_per_s: float
    source: str


def find_device(text: str) -> Device:
    """The device that `--device` names: `8GiB` or `8` is a card with that memory, `cpu` this machine's CPU.

    Empty: this machine's first card or, without one, its CPU; `gpu` or a kind such as `cuda`: its first card. Raises
    ConfigError for other text, for a memory that no card has, and where there is no such card.
    """
    name = text.strip().lower()
    computes = accelerator()
    card, kind = computes.total_bytes(), name.removesuffix(":0")
    if kind in CARD and (card is None or kind not in ("gpu", computes.kind)):
        raise ConfigError(f"--device {text}: this machine has no card; write a card's memory, such as 24GiB, or cpu")
    if card is not None and (not name or kind in CARD):
        return Device("card", card)
    if name in ("", "cpu"):
        return Device("cpu", _memory_bytes())
    match = SIZE.fullmatch(name)
    if match is None or match[2].upper() not in UNITS:
        raise ConfigError(f"--device: found {text!r}; write a card's memory in GiB, such as 24 or 24GiB, or cpu")
    size = int(float(match[1].replace(",", ".")) * UNITS[match[2].upper()])
    if not SMALLEST <= size <= LARGEST:
        raise ConfigError(
            f"--device {text}: no card has {size / GIB:,.6g} GiB; write a card's memory in GiB, such as 24 or 24GiB"
        )
    return Device("card", size)


def find_hardware(text: str) -> Hardware:
    """The dtypes that the device named by `--device` supports; a named card is assumed to be of a current kind."""
    name = text.strip().lower()
    if not name or name.removesuffix(":0") in CARD:
        return this_machine()
    return this_cpu() if name == "cpu" else replace(ANY_CARD, asked=asked_dtype())


def _memory_bytes() -> int:
    """This machine's memory in bytes."""
    first = Path("/proc/meminfo").read_text(encoding="ascii").partition("\n")[0]  # MemTotal:  24610000 kB
    return int(first.split()[1]) * 1024


def speed_of(device: Device, tflops: float, config: RunConfig) -> Speed | None:
    """The speed given by `--tflops`; without it a CPU is measured, and a card's speed is unknown: None."""
    if tflops:
        return Speed(tflops * 1e12, "assumed (--tflops)")
    if device.kind == "card":
        return None
    return Speed(measure_flops_per_s(dtype_of(config)), f"measured here with {SIDE} x {SIDE} matrix products")


def measure_flops_per_s(dtype: torch.dtype) -> float:
    """Operations a second of this CPU's matrix product in `dtype`: the fastest call within SECONDS."""
    left, right = torch.ones(2, SIDE, SIDE, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best
