"""Tokenizers and causal language models of local folders and hub ids. Remote code is never run."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm.errors import ModelError
from llm.files.untrusted_json import read_object_if_there
from llm.library_errors import as_model_error
from llm.model import hf_loaders, internlm2
from llm.model.meta_model import llm_on_meta
from llm.model.model_folder import TEXT_FILES, TOKENIZER_FILES, local_folder, read_settings
from llm.model.quantization import forbid_repacking, quantization_config
from llm.model.size_limits import refuse_absurd, size_limit_of


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or hub id; `ModelError` says what is missing."""
    folder = local_folder(path, TEXT_FILES)
    looked_for = "tokenizer.json, tokenizer.model or vocab files with tokenizer_config.json"
    with as_model_error(f"{path}: no tokenizer can be loaded (looked for {looked_for})"):
        return internlm2.load_tokenizer(folder) if is_internlm2(folder) else hf_loaders.load_tokenizer(folder)


def find_tokenizer(path: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a local folder or hub id, or None where no file of one is in it."""
    folder = local_folder(path, TEXT_FILES)
    return load_tokenizer(path) if any((folder / name).is_file() for name in TOKENIZER_FILES) else None


def load_llm(
    path: str, dtype: torch.dtype, four_bit: bool = False, eight_bit: bool = False, weights: bool = True
) -> PreTrainedModel:
    """The causal LM of a local folder or hub id, weights in `dtype` or, with `four_bit`, its linears in NF4.

    `eight_bit` is for answering only. Both compute in `dtype`; embeddings, norms and head stay in `dtype`. The model
    comes in eval mode and with its cache off: a cache switches off the separation of packed samples. Without `weights`
    its tensors are on the meta device, and the folder needs config.json only.
    """
    bits = 4 if four_bit else 8 if eight_bit else 0
    model = llm_with_weights(path, dtype, bits) if weights else llm_on_meta(path, dtype, four_bit)
    model.config.use_cache = False
    model.config.get_text_config().use_cache = False
    return model


def llm_with_weights(path: str, dtype: torch.dtype, bits: int) -> PreTrainedModel:
    """As `load_llm`; `bits` 0, 4 or 8."""
    folder = local_folder(path, (*TEXT_FILES, "*.safetensors"))
    settings = read_settings(path, folder)
    options = {"dtype": dtype, "quantization_config": quantization_config(bits, dtype)}
    with as_model_error(f"{path}: cannot be loaded as a causal language model"):
        model, report = load_with_report(folder, settings, options | LOADING)
    refuse_gaps(path, report)
    forbid_repacking(model)
    return model


# Mismatches are let through to `refuse_gaps`, which names them.
LOADING: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}


def load_with_report(
    folder: Path, settings: dict[str, Any], options: dict[str, Any]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and transformers' report of what it found no weights for. InternLM2 becomes a plain Llama."""
    if settings["model_type"] != internlm2.MODEL_TYPE:
        model, report = hf_loaders.load_model(AutoModelForCausalLM, folder, **options)
        return model, report
    refuse_absurd(folder / "config.json", settings, size_limit_of(folder))
    config = internlm2.llama_config(settings)
    state = internlm2.llama_state(folder, config, options["dtype"])
    model, report = hf_loaders.model_of_state(LlamaForCausalLM, config, state, size_limit_of(folder), **options)
    if (folder / "generation_config.json").is_file():
        model.generation_config = hf_loaders.generation_config(folder)
    return model, report


def is_internlm2(folder: Path) -> bool:
    """Whether the folder's tokenizer is InternLM2's own, whose class only its remote code has."""
    kind = read_object_if_there(folder / "tokenizer_config.json").get("tokenizer_class", "")
    return str(kind).startswith("InternLM2")


def refuse_gaps(path: str, report: dict[str, Any]) -> None:
    """Weights that a folder lacks would be left random, silently: refuse the folder."""
    lacking = sorted(report["missing_keys"])
    misfits = sorted(name for name, *_ in report["mismatched_keys"])
    if lacking:
        raise ModelError(f"{path}: {len(lacking)} weights are missing, such as {lacking[0]}. Download it again.")
    if misfits:
        raise ModelError(f"{path}: {len(misfits)} weights do not fit config.json, such as {misfits[0]}.")
