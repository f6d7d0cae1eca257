"""`eyegraft env`: versions, hardware and optional packages, as pairs of name and value."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

NEEDED = ("eyegraft", "torch", "transformers", "peft", "tokenizers", "safetensors", "pillow", "numpy")
# Distribution -> the extra that installs it.
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

    from llm.attention.varlen_kernels import describe as attention_on
    from llm.devices import accelerator
    from llm.model.precision import this_machine

    hardware, computes = this_machine(), accelerator()
    yield "threads", str(torch.get_num_threads())
    if not computes.names:
        yield "card", "none; training runs on the CPU"
    for index, name in enumerate(computes.names):
        yield f"{computes.kind}:{index}", f"{name}, {(computes.total_bytes(index) or 0) / 2**30:.0f} GiB"
    # torch has no public name for these two yet.
    yield "cpu bf16 (AVX512)", _yes(torch.cpu._is_avx512_bf16_supported())
    yield "cpu AMX", _yes(torch.cpu._is_amx_tile_supported())
    yield "cpu bf16 products run on", _bf16_kernel()
    yield "train.dtype: auto", f"{hardware.auto_dtype}: {hardware.reason}"
    yield "attention", attention_on(computes.device(0))


def _bf16_kernel() -> str:
    """The kernel that oneDNN reports for one product of bf16 matrices; that a CPU has AMX does not mean it is used."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return "torch's own loops, slow: this torch was built without oneDNN"
    matrix = torch.ones(64, 64, dtype=torch.bfloat16)
    with tempfile.TemporaryFile() as output:
        sys.stdout.flush()
        stdout = os.dup(1)
        os.dup2(output.fileno(), 1)  # oneDNN writes to the process's standard output
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                torch.mm(matrix, matrix)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    ran = [line.split(",") for line in lines if ",exec," in line and "matmul" in line]
    return f"oneDNN {ran[0][ran[0].index('matmul') + 1]}" if ran else "torch's own loops, slow: oneDNN was not called"


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
