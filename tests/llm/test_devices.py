"""What a device can do: torch's own interfaces, and an Ascend card that is imitated."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest
import torch

from llm import devices
from llm.devices import CHOICE, UNASKED, Card, Cpu, Mps, accelerator, limits_of
from llm.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# What `Card` calls, with the arguments it gives. All are in `__all__` of torch_npu/npu/__init__.py (Ascend/pytorch).
CALLS: dict[str, tuple[object, ...]] = {
    "is_available": (), "device_count": (), "get_device_name": (0,), "set_device": (0,), "synchronize": (),
    "empty_cache": (), "mem_get_info": (), "get_device_properties": (0,), "max_memory_allocated": (),
    "get_rng_state": (), "set_rng_state": (torch.zeros(1),), "is_bf16_supported": (),
}  # fmt: skip
# An installed torch_npu: it renames torch's spare device type, adds the module, and registers its backend.
TORCH_NPU = """
from types import ModuleType, SimpleNamespace
import torch
from torch import distributed

npu, calls = ModuleType("torch.npu"), []
def answer(name, value):
    def call(*arguments):
        calls.append([name, *(argument for argument in arguments if isinstance(argument, int))])
        return value
    vars(npu)[name] = call
answer("is_available", True); answer("device_count", 2); answer("get_device_name", "Ascend910B")
answer("set_device", None)
answer("synchronize", None); answer("empty_cache", None); answer("mem_get_info", (30 * 2**30, 64 * 2**30))
answer("get_device_properties", SimpleNamespace(total_memory=64 * 2**30)); answer("max_memory_allocated", 5 * 2**30)
answer("get_rng_state", torch.tensor([7], dtype=torch.uint8)); answer("set_rng_state", None)
answer("is_bf16_supported", True); answer("_is_in_bad_fork", False); answer("manual_seed_all", None)
answer("current_device", 0)
torch.utils.rename_privateuse1_backend("npu")
torch._register_device_module("npu", npu)
def group(store, rank, size, timeout):
    calls.append(["hccl", rank, size])
    return distributed.ProcessGroupGloo(store, rank, size, timeout)
distributed.Backend.register_backend("hccl", group, devices=["npu"])
"""
PROGRAM = """
import json, os, torch
from llm import distributed
from llm.attention.varlen_kernels import describe, find_kernel
from llm.devices import accelerator, limits_of
from llm.model.precision import this_machine
from llm.train.process_memory import free_memory, peak_memory_gib
from llm.train.rng import restore_rng_states, rng_states
import torch_npu
found = accelerator()
os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
with distributed.process_group():
    device = str(distributed.device())
    states = rng_states()
found.synchronize()
again = restore_rng_states(states, 0, 0)
hardware = this_machine()
print(json.dumps({
    "kind": found.kind, "names": found.names, "device": device, "backend": found.backend, "calls": torch_npu.calls,
    "dtype": hardware.auto_dtype, "reason": hardware.reason, "free": free_memory().card, "peak": peak_memory_gib(),
    "rng": [states["npu"][0].tolist(), again], "kernel": find_kernel() is None, "attention": describe(found.device(0)),
    "limits": limits_of("npu"), "total": found.total_bytes(1),
}))
"""


def test_an_ascend_card_goes_by_the_same_door(tmp_path: Path) -> None:
    """In a process of its own: a device type of torch is renamed once and for all."""
    (tmp_path / "torch_npu.py").write_text(TORCH_NPU)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    environment.pop(CHOICE, None)
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert (found["kind"], found["names"], found["device"]) == ("npu", ["Ascend910B", "Ascend910B"], "npu:1")
    assert found["backend"] == "cpu:gloo,npu:hccl" and ["hccl", 0, 1] in found["calls"]
    assert (found["dtype"], found["reason"]) == ("bf16", "Ascend910B multiplies bf16")
    assert (found["free"], found["peak"]) == (30 * 2**30, 5.0)
    assert found["rng"] == [[7], True] and ["set_rng_state"] in found["calls"]
    assert found["kernel"] and "varlen kernels need CUDA, this is npu" in found["attention"]
    assert (found["limits"], found["total"]) == ("cuda", 64 * 2**30)
    assert ["set_device", 1] in found["calls"] and ["synchronize"] in found["calls"]
    assert found["calls"].index(["empty_cache"]) < found["calls"].index(["mem_get_info"])


@pytest.mark.parametrize("module", [torch.cuda, torch.xpu])
def test_torchs_modules_have_every_function_that_is_called(module: ModuleType) -> None:
    for name, arguments in CALLS.items():
        signature(vars(module)[name]).bind(*arguments)
    signature(vars(module)["is_bf16_supported"]).bind(including_emulation=False)


def test_torchs_mps_has_every_function_that_is_called() -> None:
    for name in ("synchronize", "empty_cache", "driver_allocated_memory", "recommended_max_memory", "get_rng_state"):
        signature(vars(torch.mps)[name]).bind()
    signature(torch.mps.set_rng_state).bind(torch.zeros(1))
    signature(torch.backends.mps.is_macos_or_newer).bind(14, 0)


def there(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """torch finds devices of these kinds, and no others."""
    monkeypatch.delenv(CHOICE, raising=False)
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    for kind, module in (("cuda", torch.cuda), ("xpu", torch.xpu), ("mps", torch.backends.mps)):
        monkeypatch.setattr(module, "is_available", lambda kind=kind: kind in kinds)


@pytest.mark.parametrize(
    ("kinds", "used"),
    [((), "cpu"), (("cuda",), "cuda"), (("xpu",), "xpu"), (("cuda", "xpu", "mps"), "cuda"), (("mps",), "cpu")],
)
def test_the_first_kind_that_is_there_is_used(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], used: str
) -> None:
    there(monkeypatch, *kinds)
    assert accelerator().kind == used


def test_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, "cuda", "mps")
    monkeypatch.setenv(CHOICE, " CPU ")
    assert isinstance(accelerator(), Cpu)
    monkeypatch.setenv(CHOICE, "mps")
    assert isinstance(accelerator(), Mps) and accelerator().device(3) == torch.device("mps")
    monkeypatch.setenv(CHOICE, "xpu")
    with pytest.raises(ConfigError, match="EYEGRAFT_DEVICE is xpu, and torch finds no such device here"):
        accelerator()
    monkeypatch.setenv(CHOICE, "tpu")
    with pytest.raises(ConfigError, match="EYEGRAFT_DEVICE is 'tpu': write one of cuda, npu, xpu, mps, cpu"):
        accelerator()


def test_a_torch_npu_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CHOICE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "torch_npu.py").write_text("raise ImportError('libascendcl.so: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"torch_npu .*libascendcl.so.*Source CANN's set_env.sh"):
        accelerator()


def test_processes_share_devices_only_where_there_is_a_backend() -> None:
    assert [Card(kind, ModuleType(kind)).backend for kind in UNASKED] == BACKENDS
    assert Cpu().backend == "gloo"
    with pytest.raises(
        ConfigError, match="no backend for mps: start the run as one process, or set EYEGRAFT_DEVICE=cpu"
    ):
        assert Mps().backend


def test_any_card_has_the_limits_of_cuda() -> None:
    assert [limits_of(kind) for kind in ("cuda", "npu", "xpu", "mps", "cpu", "meta")] == ["cuda"] * 4 + ["cpu"] * 2


BACKENDS = ["cpu:gloo,cuda:nccl", "cpu:gloo,npu:hccl", "cpu:gloo,xpu:xccl"]
NAMING = (ast.Attribute, ast.Constant)


def named_elsewhere() -> Iterator[str]:
    """Where the packages name a device module of torch, or a kind of card, outside `llm/devices.py`."""
    kinds = {"cuda", "npu", "xpu", "mps", "is_cuda"}
    for package in ("llm", "vlm", "data_tools", "demo"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if file == ROOT / "llm" / "devices.py":
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                words = {vars(node).get("attr"), vars(node).get("value")} if isinstance(node, NAMING) else set()
                for word in words & kinds:
                    yield f"{file.relative_to(ROOT)}:{node.lineno} {word}"


def test_no_other_module_asks_torch_about_devices() -> None:
    assert list(named_elsewhere()) == []
