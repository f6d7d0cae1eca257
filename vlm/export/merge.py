"""`eyegraft merge`: merge a LoRA adapter into the weights of its model."""

from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from llm.errors import ConfigError
from llm.files.folder_replacement import Origin, check_replaceable, source_of
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.hf_export import PROMPT_LENGTH, difference, logits, reload, write_and_prove
from llm.model.model_folder import TEXT_FILES, local_folder, read_model_config, refuse_special_files
from llm.model.precision import DTYPES


def merge(
    base: str,
    adapter: Path,
    out: Path,
    dtype: Literal["fp32", "bf16"] = "bf16",
    shard: str = "5GB",
    replace: bool = False,
) -> float:
    """Write `base` with `adapter` merged and reload it by transformers; returns the largest difference of a logit.

    The merge is computed in fp32 and rounded once. Raises ConfigError for a folder that is no adapter, ModelError when
    the base cannot be loaded or the adapter does not fit it, RunError when `out` holds anything but an earlier merge of
    the same two; with `replace`, anything but an export or merge.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise ConfigError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    refuse_special_files(adapter)
    below = Path(base).expanduser()
    source = source_of("merge", below if below.is_dir() else base, adapter)
    origin = Origin(source, f"{adapter.name} merged into {below.name}", replace)
    check_replaceable(out, origin)  # before the model is loaded
    folder = local_folder(base, (*TEXT_FILES, "*.safetensors"))
    sees = "vision_config" in read_model_config(base, folder)
    auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    load_inputs = hf_loaders.load_processor if sees else hf_loaders.load_tokenizer
    with as_model_error(f"{adapter} cannot be loaded onto {base}"):
        model = hf_loaders.load_model(auto, folder, dtype=torch.float32)
        adapted = hf_loaders.load_adapter(model, adapter).eval()
        inputs = load_inputs(folder)
    seed = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.get_text_config().vocab_size, (1, PROMPT_LENGTH), generator=seed)
    with torch.no_grad():
        expected = adapted(input_ids=ids, use_cache=False).logits

    def write(target: Path) -> None:
        adapted.merge_and_unload().to(DTYPES[dtype]).save_pretrained(target, max_shard_size=shard)
        inputs.save_pretrained(target)

    def prove(target: Path) -> float:
        return difference(logits(reload(auto, target), input_ids=ids), expected, DTYPES[dtype])

    return write_and_prove(out, write, prove, origin)
