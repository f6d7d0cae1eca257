"""`eyegraft merge`: any LoRA adapter put into the weights of the model it belongs to."""

from pathlib import Path
from typing import Any, Literal

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
    """Write BASE with ADAPTER merged, reload it by plain transformers, return the largest difference of a logit.

    The sum is taken in fp32 and rounded once. Raises ConfigError for a folder that is no adapter, ModelError when the
    base cannot be loaded or the adapter does not fit it, RunError where `out` holds anything but an older merge of the
    same two; `replace` lets it be any export or merge.
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
    auto: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    words = hf_loaders.load_processor if sees else hf_loaders.load_tokenizer
    with as_model_error(f"{adapter} cannot be put onto {base}"):
        model = hf_loaders.load_model(auto, folder, dtype=torch.float32)
        adapted: Any = hf_loaders.load_adapter(model, adapter).eval()
        reader = words(folder)
    seed = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.get_text_config().vocab_size, (1, PROMPT_LENGTH), generator=seed)
    with torch.no_grad():
        wanted = adapted(input_ids=ids, use_cache=False).logits

    def write(target: Path) -> None:
        adapted.merge_and_unload().to(DTYPES[dtype]).save_pretrained(target, max_shard_size=shard)
        reader.save_pretrained(target)

    def prove(target: Path) -> float:
        return difference(logits(reload(auto, target), input_ids=ids), wanted, DTYPES[dtype])

    return write_and_prove(out, write, prove, origin)
