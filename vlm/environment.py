"""What this machine and this installation offer, as pairs of name and finding."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

NEEDED = ("eyegraft", "torch", "transformers", "peft", "tokenizers", "safetensors", "pillow", "numpy")
# Distribution -> the extra that brings it.
OPTIONAL = {
    "bitsandbytes": "quant",
    "deepspeed": "deepspeed",
    "timm": "towers",
    "open_clip_torch": "towers",
    "gguf": "gguf",
    "xllamacpp": "gguf",
    "datasets": "hub",
    "fastapi": "serve",
    "gradio": "web",
}


def describe() -> Iterator[tuple[str, str]]:
    """Python, machine, packages and accelerators, in the order they are printed."""
    yield "python", platform.python_version()
    yield "platform", platform.platform()
    yield "cores", str(os.cpu_count())
    for package in NEEDED:
        yield package, _version(package) or "absent"
    for package, extra in OPTIONAL.items():
        yield package, _version(package) or f"absent; pip install 'eyegraft[{extra}]'"
    yield from _accelerators()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _accelerators() -> Iterator[tuple[str, str]]:
    import torch

    yield "threads", str(torch.get_num_threads())
    if not torch.cuda.is_available():
        yield "cuda", "none; training runs on the CPU"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
    # torch has no public name for these two yet.
    yield "cpu bf16 (AVX512)", _yes(torch.cpu._is_avx512_bf16_supported())
    yield "cpu AMX", _yes(torch.cpu._is_amx_tile_supported())


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
