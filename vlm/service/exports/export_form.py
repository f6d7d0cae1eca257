"""Which form of a checkpoint an export is: the same form of the same checkpoint is the same export."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import get_args

from vlm.export.formats import ExportDtype, ExportFormat

DTYPES: dict[ExportFormat, tuple[ExportDtype, ...]] = {
    "hf": ("fp32", "bf16"),
    "peft": ("fp32", "bf16"),
    "llava": ("fp32",),
    "gguf": ("fp32", "bf16", "q8_0"),
    "ollama": ("fp32", "bf16", "q8_0"),
}
"""The types of weights that `eyegraft export` writes in each format; the first is the default."""
LLAMA_CPP: tuple[ExportFormat, ...] = ("gguf", "ollama")
KEY = re.compile(r"step-([0-9]{6,9})-([a-z]+)-([a-z0-9_]+)")


@dataclass(frozen=True, slots=True)
class ExportForm:
    """A checkpoint by its step, a format and a type of weights. `key` is the name of the export's folder."""

    step: int
    format: ExportFormat
    dtype: ExportDtype

    @property
    def key(self) -> str:
        """Unique within a job."""
        return f"step-{self.step:06d}-{self.format}-{self.dtype}"


def form_of(key: str) -> ExportForm | None:
    """The form whose key it is; None for any other text."""
    found = KEY.fullmatch(key)
    if found is None:
        return None
    for name in get_args(ExportFormat):
        for dtype in DTYPES[name]:
            form = ExportForm(int(found[1]), name, dtype)
            if form.key == key:
                return form
    return None


def offered_formats(stage: str, method: str) -> list[ExportFormat]:
    """The formats that fit a job of this stage and method, as far as the packages are there that write them."""
    without: set[ExportFormat] = set()
    if method not in ("lora", "qlora"):
        without.add("peft")
    if stage == "sft":
        without.add("llava")
    if find_spec("gguf") is None or find_spec("xllamacpp") is None:
        without.update(LLAMA_CPP)
    return [name for name in DTYPES if name not in without]
