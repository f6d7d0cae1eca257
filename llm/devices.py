"""What the device that computes can do. Everything else asks here; no other module names torch's device modules.

    kind   module      processes   kernels of variable length   peak memory   used
    cuda   torch.cuda  NCCL        yes                          yes           where there is one
    npu    torch.npu   HCCL        no                           yes           where there is one (torch_npu)
    xpu    torch.xpu   XCCL        no                           yes           where there is one
    mps    torch.mps   none        no                           no            only if EYEGRAFT_DEVICE names it
    cpu                Gloo        no                           of the process

The first kind that is there is used; EYEGRAFT_DEVICE names another one. Only `cpu` and `cuda` were ever run: the calls
for the others are checked against torch's and torch_npu's interfaces, on devices that tests imitate.
"""

import os
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from llm.errors import ConfigError

Kind = Literal["cuda", "npu", "xpu", "mps", "cpu"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CHOICE = "EYEGRAFT_DEVICE"  # the environment variable that names a kind
CPU, CUDA = "cpu", "cuda"  # the device types whose limits were measured, or are stated by their makers
UNASKED: tuple[Kind, ...] = ("cuda", "npu", "xpu")  # kinds that are used without being named, the first that is there
BACKENDS: dict[Kind, str] = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl"}  # of torch.distributed
VARLEN = (CUDA,)  # device types on which flash-attn's and torch's kernels of variable length run
ADAPTER = "torch_npu"  # the package that gives torch its `npu`


class Accelerator(ABC):
    """A kind of device. Numbers of devices are those on this machine; sizes are in bytes."""

    kind: Kind
    varlen_kernels = False
    """Whether it is one of VARLEN."""
    pins_memory = False
    """Whether copies from page-locked main memory are faster."""

    @abstractmethod
    def device(self, local: int) -> torch.device:
        """The device of the process with this rank on its machine."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The name of each device here, as its maker gives it; empty on a CPU."""

    @property
    @abstractmethod
    def has_bf16(self) -> bool:
        """Whether it multiplies bf16 in hardware."""

    @property
    def backend(self) -> str:
        """torch.distributed's backends for tensors of the CPU and of the device. Raises ConfigError without any."""
        if self.kind == CPU:
            return "gloo"
        if self.kind not in BACKENDS:
            raise ConfigError(
                f"torch.distributed has no backend for {self.kind}: start the run as one process, or set "
                "EYEGRAFT_DEVICE=cpu"
            )
        return f"cpu:gloo,{self.kind}:{BACKENDS[self.kind]}"

    @abstractmethod
    def select(self, local: int) -> None:
        """Make the process with this rank on its machine use its device."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything that was started on it has ended."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """What can be allocated now, torch's cache emptied first; None where main memory is what counts."""

    @abstractmethod
    def total_bytes(self, index: int = 0) -> int | None:
        """The memory of a device; None where main memory is what counts."""

    @abstractmethod
    def peak_bytes(self) -> int | None:
        """The most that torch has allocated on it so far; None where that is not counted."""

    @abstractmethod
    def rng_state(self) -> Tensor | None:
        """The state of its random number generator; None on a CPU, whose own is torch's."""

    @abstractmethod
    def set_rng_state(self, state: Tensor) -> None:
        """Set what `rng_state` has returned."""


class Cpu(Accelerator):
    """No accelerator: the CPU of this machine."""

    kind: Kind = "cpu"
    has_bf16 = False
    """Of the CPU itself `llm.model.precision` knows."""

    def device(self, local: int) -> torch.device:
        """The CPU, for every process."""
        return torch.device(CPU)

    @property
    def names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def select(self, local: int) -> None:
        """Nothing is to be done."""

    def synchronize(self) -> None:
        """Nothing runs beside the program."""

    def free_bytes(self) -> None:
        """Main memory."""

    def total_bytes(self, index: int = 0) -> None:
        """Main memory."""

    def peak_bytes(self) -> None:
        """That of the process."""

    def rng_state(self) -> None:
        """torch's own."""

    def set_rng_state(self, state: Tensor) -> None:
        """Nothing is to be done."""


class Card(Accelerator):
    """A kind whose module has the functions of torch.cuda: cuda, npu (torch_npu's `npu/__init__.py`), and xpu."""

    pins_memory = True

    def __init__(self, kind: Kind, module: ModuleType) -> None:
        self.kind, self._module = kind, module
        self.varlen_kernels = kind in VARLEN

    def device(self, local: int) -> torch.device:
        """One device a process."""
        return torch.device(self.kind, local)

    @property
    def names(self) -> tuple[str, ...]:
        """As the driver gives them."""
        return tuple(str(self._module.get_device_name(index)) for index in range(self._module.device_count()))

    @property
    def has_bf16(self) -> bool:
        """Not where it is emulated, which only cuda and xpu distinguish."""
        if self.kind == "npu":
            return bool(self._module.is_bf16_supported())
        return bool(self._module.is_bf16_supported(including_emulation=False))

    def select(self, local: int) -> None:
        """Set the current device."""
        self._module.set_device(local)

    def synchronize(self) -> None:
        """Of the current device."""
        self._module.synchronize()

    def free_bytes(self) -> int:
        """As the driver reports it for the current device."""
        self._module.empty_cache()
        return int(self._module.mem_get_info()[0])

    def total_bytes(self, index: int = 0) -> int:
        """As the driver reports it."""
        return int(self._module.get_device_properties(index).total_memory)

    def peak_bytes(self) -> int:
        """Of the current device."""
        return int(self._module.max_memory_allocated())

    def rng_state(self) -> Tensor:
        """Of the current device."""
        return cast(Tensor, self._module.get_rng_state())

    def set_rng_state(self, state: Tensor) -> None:
        """Of the current device."""
        self._module.set_rng_state(state)


class Mps(Accelerator):
    """The GPU of an Apple chip, which shares the machine's memory: what torch may use of it, it states itself."""

    kind: Kind = "mps"

    def device(self, local: int) -> torch.device:
        """The only one."""
        return torch.device("mps")

    @property
    def names(self) -> tuple[str, ...]:
        """torch does not know it."""
        return ("GPU of this Apple chip",)

    @property
    def has_bf16(self) -> bool:
        """Since macOS 14."""
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))

    def select(self, local: int) -> None:
        """Nothing is to be done."""

    def synchronize(self) -> None:
        """Of the only device."""
        torch.mps.synchronize()

    def free_bytes(self) -> int:
        """Of what torch recommends to use, what its driver has not allocated for this process."""
        torch.mps.empty_cache()
        return self.total_bytes() - int(torch.mps.driver_allocated_memory())

    def total_bytes(self, index: int = 0) -> int:
        """What torch recommends to use."""
        return int(torch.mps.recommended_max_memory())

    def peak_bytes(self) -> None:
        """torch.mps does not count it."""

    def rng_state(self) -> Tensor:
        """Of the only device."""
        return torch.mps.get_rng_state()

    def set_rng_state(self, state: Tensor) -> None:
        """Of the only device."""
        torch.mps.set_rng_state(state)


def accelerator() -> Accelerator:
    """The device that computes. Raises ConfigError for an EYEGRAFT_DEVICE that is no kind, or is not here."""
    chosen = os.environ.get(CHOICE, "").strip().lower()
    if not chosen:
        return next((found for kind in UNASKED if (found := _find(kind)) is not None), Cpu())
    kind = next((kind for kind in KINDS if kind == chosen), None)
    if kind is None:
        raise ConfigError(f"EYEGRAFT_DEVICE is {chosen!r}: write one of {', '.join(KINDS)}, or leave it unset")
    found = _find(kind)
    if found is None:
        raise ConfigError(
            f"EYEGRAFT_DEVICE is {kind}, and torch finds no such device here. Unset it, or install its driver"
        )
    return found


def on_cpu() -> bool:
    """Whether this process computes on the CPU."""
    return accelerator().kind == CPU


def limits_of(device_type: str) -> str:
    """`cuda` for the type of any card, whose sizes are taken for it too; else `cpu`."""
    return CUDA if device_type in KINDS and device_type != CPU else CPU


def _find(kind: Kind) -> Accelerator | None:
    if kind == "cpu":
        return Cpu()
    if kind == "mps":
        return Mps() if torch.backends.mps.is_available() else None
    module = torch.cuda if kind == "cuda" else torch.xpu if kind == "xpu" else _npu()
    return Card(kind, module) if module is not None and module.is_available() else None


def _npu() -> ModuleType | None:
    """torch's module of Ascend devices, which torch_npu adds when it is imported; None without that package."""
    if find_spec(ADAPTER) is None:
        return None
    try:
        import_module(ADAPTER)
    except (ImportError, OSError) as error:  # CANN's libraries are missing
        raise ConfigError(
            f"torch_npu is installed and cannot be imported: {error}. Source CANN's set_env.sh, or uninstall it"
        ) from error
    return cast(ModuleType, vars(torch)["npu"])
