"""Tokenizers and causal language models from local folders and hub ids. Remote code is never run."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm.activity import activity
from llm.errors import ModelError
from llm.files.untrusted_json import read_object_if_there
from llm.library_errors import as_model_error
from llm.model import hf_loaders, internlm2
from llm.model.hf_loaders import LoadingReport
from llm.model.meta_model import llm_on_meta
from llm.model.model_folder import TEXT_FILES, TOKENIZER_FILES, local_folder, read_model_config
from llm.model.quantization import forbid_repacking, quantization_config, read_rows_exactly
from llm.model.size_limits import refuse_absurd, size_limit_of


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or hub id. Raises ModelError that names what is missing."""
    folder = local_folder(path, TEXT_FILES)
    looked_for = "tokenizer.json, tokenizer.model or vocab files with tokenizer_config.json"
    with as_model_error(f"{path}: no tokenizer can be loaded (looked for {looked_for})"):
        return internlm2.load_tokenizer(folder) if is_internlm2(folder) else hf_loaders.load_tokenizer(folder)


def find_tokenizer(path: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a local folder or hub id, or None where it has no tokenizer files."""
    folder = local_folder(path, TEXT_FILES)
    return load_tokenizer(path) if any((folder / name).is_file() for name in TOKENIZER_FILES) else None


def load_llm(
    path: str, dtype: torch.dtype, four_bit: bool = False, eight_bit: bool = False, weights: bool = True
) -> PreTrainedModel:
    """The causal LM of a local folder or hub id, in eval mode, with weights in `dtype`.

    `four_bit`: linears in NF4; `eight_bit`: linears in LLM.int8, for inference only; both compute in `dtype`, and
    embeddings, norms and head are in `dtype`. `use_cache` is off: with a cache transformers would not separate packed
    samples. Without `weights` all tensors are on the meta device, and the folder needs config.json only. Raises
    ModelError for a folder that cannot be loaded completely.
    """
    bits = 4 if four_bit else 8 if eight_bit else 0
    model = llm_with_weights(path, dtype, bits) if weights else llm_on_meta(path, dtype, four_bit)
    model.config.use_cache = False
    model.config.get_text_config().use_cache = False
    return model


def llm_with_weights(path: str, dtype: torch.dtype, bits: int) -> PreTrainedModel:
    """As `load_llm`; `bits` 0, 4 or 8."""
    folder = local_folder(path, (*TEXT_FILES, "*.safetensors"))
    config = read_model_config(path, folder)
    options: dict[str, object] = {
        "quantization_config": quantization_config(bits, dtype),
        "ignore_mismatched_sizes": True,  # `refuse_gaps` names them
    }
    quantised = f", in {bits} bits" if bits else ""
    with activity(f"loading {path}{quantised}"), as_model_error(f"{path}: cannot be loaded as a causal language model"):
        model, report = load_with_report(folder, config, dtype, options)
    refuse_gaps(path, report)
    read_rows_exactly(model)
    forbid_repacking(model)
    return model


def load_with_report(
    folder: Path, settings: dict[str, Any], dtype: torch.dtype, options: dict[str, object]
) -> tuple[PreTrainedModel, LoadingReport]:
    """The model, and transformers' report of missing weights and other shapes. InternLM2 becomes a plain Llama."""
    if settings["model_type"] != internlm2.MODEL_TYPE:
        return hf_loaders.load_model_with_report(AutoModelForCausalLM, folder, dtype=dtype, **options)
    limit = size_limit_of(folder)
    refuse_absurd(folder / "config.json", settings, limit)
    config = internlm2.llama_config(settings)
    state = internlm2.llama_state(folder, config, dtype)
    model, report = hf_loaders.model_of_state(LlamaForCausalLM, config, state, limit, dtype=dtype, **options)
    if (folder / "generation_config.json").is_file():
        model.generation_config = hf_loaders.generation_config(folder)
    return model, report


def is_internlm2(folder: Path) -> bool:
    """Whether the folder's tokenizer class is InternLM2's, which only remote code has."""
    kind = read_object_if_there(folder / "tokenizer_config.json").get("tokenizer_class", "")
    return str(kind).startswith("InternLM2")


def refuse_gaps(path: str, report: LoadingReport) -> None:
    """Raise ModelError for missing weights, which transformers leaves random, and for weights of other shapes."""
    missing, mismatched = sorted(report.missing), sorted(report.mismatched)
    if missing:
        raise ModelError(f"{path}: {len(missing)} weights are missing, such as {missing[0]}. Download it again.")
    if mismatched:
        raise ModelError(f"{path}: {len(mismatched)} weights do not fit config.json, such as {mismatched[0]}.")
