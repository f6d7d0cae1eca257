"""How large a model a folder's config.json may describe: no larger than the folder's weights can fill.

Two checks: single numbers that no model has are refused by their key, before anything is built; and while transformers
builds the modules, on the meta device, their elements and modules are counted, so that no combination is too large.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from llm.errors import ModelError
from llm.files.untrusted_json import walk
from llm.model.model_folder import WEIGHT_FILES

REPEATED = re.compile(r"layer|depth|block|expert|head|stage|repeat|group|register")  # keys of numbers of modules
WIDE = re.compile(r"(size|dim|width|ids?|idx|theta|length|positions|seed)$")  # keys of other numbers
UNBOUNDED = re.compile(r"(theta|length|seed|_ids?|base)$")  # keys of numbers that are no sizes
DIVISORS = re.compile(r"(num_attention_heads|num_key_value_heads|n_head|patch_size|hidden_size|vocab_size)$")
MOST_REPEATED = 100_000
# Elements per byte of weights: 2 of 4 bits, twice as quantised layers replace dense ones, and twice again in loading.
ELEMENTS_A_BYTE = 8
SPARE = 2**26  # elements that are computed and not in a file: masks and position tables
MODULES_A_TENSOR, SPARE_MODULES = 16, 2000


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """The largest model that a folder's weights can fill."""

    elements: int
    modules: int


def size_limit_of(folder: Path) -> SizeLimit | None:
    """The limit by a folder's weights; None for a folder without any, from which only shapes are read."""
    files = [file for pattern in WEIGHT_FILES for file in folder.glob(pattern)]
    if not files:
        return None
    size, tensors = sum(file.stat().st_size for file in files), sum(map(_tensors, files))
    return SizeLimit(ELEMENTS_A_BYTE * size + SPARE, MODULES_A_TENSOR * tensors + SPARE_MODULES)


def refuse_absurd(file: Path, settings: Mapping[str, Any], limit: SizeLimit | None) -> None:
    """Raise ModelError for the first number in config.json that is larger or smaller than in any model."""
    most = limit.elements if limit else 2**40
    for place, value in walk(settings):
        key = place.rpartition(".")[2] if not place.rpartition(".")[2].isdigit() else place.split(".")[-2]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value <= 0 and DIVISORS.fullmatch(key):
            raise _absurd(file, f"{place} is {value:,}", "and no model has fewer than 1")
        if value > most and not UNBOUNDED.search(key):
            raise _absurd(file, f"{place} is {value:,}", "which its weights cannot fill")
        if value > MOST_REPEATED and REPEATED.search(key) and not WIDE.search(key):
            raise _absurd(file, f"{place} is {value:,}", f"more than {MOST_REPEATED:,}")


@contextmanager
def enforce(file: Path, settings: Mapping[str, Any], limit: SizeLimit | None) -> Iterator[None]:
    """Inside, modules that this thread builds must fit `limit`; ModelError names the largest numbers of config.json.

    torch calls the hooks when a tensor or module is registered, which is before any memory is allocated: transformers
    builds on the meta device.
    """
    if limit is None:
        yield
        return
    thread, left = threading.get_ident(), {"elements": limit.elements, "modules": limit.modules}

    def take(what: str, count: int) -> None:
        if threading.get_ident() == thread:
            left[what] -= count
            if left[what] < 0:
                raise _absurd(file, f"{_largest(settings)} ask for more {what}", "than its weights can fill")

    def take_tensor(owner: nn.Module, name: str, tensor: Tensor | None) -> None:
        take("elements", 0 if tensor is None else tensor.numel())

    def take_module(owner: nn.Module, name: str, module: nn.Module | None) -> None:
        take("modules", 1)

    handles = [
        hooks.register_module_parameter_registration_hook(take_tensor),
        hooks.register_module_buffer_registration_hook(take_tensor),
        hooks.register_module_module_registration_hook(take_module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(file: Path) -> int:
    """The number of tensors in a file, by its header; for a pickle the largest possible, at 256 bytes a tensor."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // 256
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        return content.read(min(length, 2**27)).count(b'"data_offsets"')


def _largest(settings: Mapping[str, Any]) -> str:
    """The three largest sizes, for the message."""
    numbers = {
        place: value
        for place, value in walk(settings)
        if isinstance(value, int) and not isinstance(value, bool) and not UNBOUNDED.search(place)
    }
    largest = sorted(numbers, key=lambda place: -numbers[place])[:3]
    return ", ".join(f"{place} {numbers[place]:,}" for place in largest)


def _absurd(file: Path, found: str, why: str) -> ModelError:
    return ModelError(f"{file}: {found}, {why}. Was it edited, or are weights missing? Download the folder again.")
