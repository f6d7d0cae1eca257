"""`eyegraft merge`: any LoRA adapter put into the weights of the model it belongs to."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from llm.errors import ConfigError, ModelError
from llm.export import PROMPT_LENGTH, difference, logits, reload, write_and_prove
from llm.model import TEXT_FILES, UNLOADABLE, first_line, local_folder, refuse_special
from llm.precision import DTYPES
from llm.replace import Origin, refuse_replacing, source_of


def merge(
    base: str,
    adapter: Path,
    out: Path,
    dtype: Literal["fp32", "bf16"] = "bf16",
    shard: str = "5GB",
    replace: bool = False,
) -> float:
    """Write BASE with ADAPTER merged, reload it by plain transformers, return the largest difference of a logit.

    The sum is taken in fp32 and rounded once. Raises ConfigError for a folder that is no adapter, ModelError when the
    base cannot be loaded or the adapter does not fit it, RunError where `out` holds anything but an older merge of the
    same two; `replace` lets it be any export or merge.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise ConfigError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    refuse_special(adapter)
    below = Path(base).expanduser()
    source = source_of("merge", below if below.is_dir() else base, adapter)
    origin = Origin(source, f"{adapter.name} merged into {below.name}", replace)
    refuse_replacing(out, origin)  # before the model is loaded
    folder = local_folder(base, (*TEXT_FILES, "*.safetensors"))
    sees = "vision_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    auto: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    try:
        model = auto.from_pretrained(str(folder), dtype=torch.float32)
        adapted: Any = PeftModel.from_pretrained(model, str(adapter)).eval()
    except UNLOADABLE as cause:
        raise ModelError(f"{adapter} cannot be put onto {base}: {first_line(cause)}") from cause
    seed = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.get_text_config().vocab_size, (1, PROMPT_LENGTH), generator=seed)
    with torch.no_grad():
        wanted = adapted(input_ids=ids, use_cache=False).logits

    def write(target: Path) -> None:
        adapted.merge_and_unload().to(DTYPES[dtype]).save_pretrained(target, max_shard_size=shard)
        words: Any = AutoProcessor if sees else AutoTokenizer
        words.from_pretrained(str(folder)).save_pretrained(target)

    def prove(target: Path) -> float:
        return difference(logits(reload(auto, target), input_ids=ids), wanted, DTYPES[dtype])

    return write_and_prove(out, write, prove, origin)
