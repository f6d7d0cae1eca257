"""Hardware and package versions, recorded with results."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from llm.model.precision import this_cpu

PACKAGES = ("torch", "transformers", "peft", "trl")


def machine() -> dict[str, Any]:
    """CPU, GPU if there is one, and the versions of Python and PACKAGES."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    card = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    versions = {name: installed(name) for name in PACKAGES}
    cores = len(os.sched_getaffinity(0))
    # CPUs of one name can differ in this: one "AMD EPYC" has bf16 instructions, another does not.
    units = this_cpu().bf16_units or "none"
    return card | {"cpu": cpu, "bf16_units": units, "cores": cores, "python": platform.python_version()} | versions


def installed(package: str) -> str:
    """The version of a package, or `not installed`: TRL is an optional extra."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
