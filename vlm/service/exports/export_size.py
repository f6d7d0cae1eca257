"""What an export takes, before it begins: bytes of the disk and of the main memory, from the sizes of the weights."""

import math
from pathlib import Path

from safetensors import SafetensorError, safe_open

from llm.errors import EyegraftError
from llm.files.saved_checkpoints import checkpoint_folder
from vlm.export.formats import ExportDtype
from vlm.model.run_recipe import read_run_config
from vlm.service.exports.export_form import ExportForm

BYTES: dict[ExportDtype, float] = {"fp32": 4, "bf16": 2, "q8_0": 34 / 32}  # a weight; q8_0 has a scale per 32 weights
REST = 64 * 2**20  # tokenizer, settings, model card
COPIES = 2  # in memory: the trained model, and the export that is read back


def disk_need(run: Path, form: ExportForm) -> int:
    """Bytes of the finished export, about.

    Of a base that is no folder of this machine nothing is known: the result is then that of what was trained.
    """
    trained = sum(file.stat().st_size for file in checkpoint_folder(run, form.step).glob("*.safetensors"))
    if form.format in ("peft", "llava"):
        return trained + REST
    weights = base_weights(run) * BYTES[form.dtype]
    return round(weights) + trained + REST


def memory_need(run: Path) -> int:
    """Bytes of main memory that an export takes at most: its weights in fp32, with a copy that is read back."""
    return COPIES * 4 * base_weights(run) + REST


def base_weights(run: Path) -> int:
    """The number of weights of the LLM and the tower that a run was trained from; 0 where they cannot be read."""
    try:
        model = read_run_config(run).model.model_dump()
    except (EyegraftError, OSError):
        return 0
    return sum(_weights(Path(str(model[part]))) for part in ("llm", "tower") if model.get(part))


def _weights(folder: Path) -> int:
    found = 0
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="np") as tensors:
                names = list(tensors.keys())
                found += sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
        except (SafetensorError, OSError):
            continue
    return found or sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin")) // 2
