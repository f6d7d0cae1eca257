"""Export of a LoRA run to an adapter that plain peft loads, with its base model where that was trained too."""

import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from llm.errors import ConfigError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.library_errors import as_model_error
from llm.log import logger
from llm.model import hf_loaders
from llm.model.adapter_files import save_adapter
from llm.model.batch_proof import prove_text_batch
from llm.model.exported_tokenizer import inference_tokenizer
from llm.model.hf_export import (
    PROMPT_LENGTH,
    difference,
    generation_config,
    logits,
    proving,
    reload_tokenizer,
    write_and_prove,
)
from llm.model.merge import densify, merge_adapters, strip_adapters
from llm.model.model_folder import TEXT_FILES, local_folder
from llm.model.precision import dtype_of
from vlm.export.adapter_base import adapter_base, needs_own_base
from vlm.export.hf import build_processor, prove_image_batch
from vlm.export.plain import export_plain
from vlm.model.adapter_folder import ADAPTER, BASE
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun


def export_peft(
    opened: OpenedRun, out: Path, dtype: torch.dtype, origin: Origin = UNNAMED, base_name: str = ""
) -> float:
    """Write `out/adapter` and, unless its base is simply the recipe's LLM, `out/base`; check both together.

    The adapter is for the LLM alone (vLLM accepts no other): the base holds the projector and tower of a vision run,
    what earlier runs trained, and the dense equivalent of 4-bit weights. The adapter's folder also holds the tokenizer
    or processor, with the template of the run, and its generation config. `base_name` is written as the base's name
    instead of `adapter_base`. Returns the largest difference of a logit; the base is checked by itself too, with an
    image. Raises ConfigError for a run without adapters.
    """
    tune = opened.config.tune
    if tune.kind not in ("lora", "qlora"):
        raise ConfigError(f"--to peft: this run trained with tune.kind: {tune.kind}, which leaves no adapter. Use hf")
    own_base, name = needs_own_base(opened), adapter_base(opened, out, base_name)
    complete, llm = _models(opened)
    if isinstance(opened.model, VlmModel):
        merge_adapters(opened.model.vision.tower.module)  # a tower's adapters belong to the base
    densify(complete)
    ids = torch.randint(0, opened.encoder.tokenizer.vocab_size, (1, PROMPT_LENGTH))
    with proving(complete):
        trained = logits(complete, input_ids=ids.to(complete.device)).cpu()

    def write(folder: Path) -> None:
        save_adapter(llm, tune, folder / ADAPTER, name, complete if complete is not llm else None)
        _save_inputs(opened, complete, folder / ADAPTER)
        if own_base:
            strip_adapters(complete)
            export_plain(opened, folder / BASE, dtype)

    def prove(folder: Path) -> float:
        # The adapter was trained on weights of the run's dtype: a base of higher precision is rounded as in training.
        trained_on = torch.float32 if own_base else dtype_of(opened.config)
        base_folder = (
            folder / BASE if own_base else local_folder(opened.config.model.llm, (*TEXT_FILES, "*.safetensors"))
        )
        base = _plain(base_folder, isinstance(opened.model, VlmModel), trained_on)
        hf_loaders.load_adapter(base, folder / ADAPTER)  # in place
        found = difference(logits(base, input_ids=ids), trained, dtype if own_base else torch.float32)
        base.generation_config = hf_loaders.generation_config(folder / ADAPTER)
        _prove_batch(opened, base, folder / ADAPTER)
        return found

    found = write_and_prove(out, write, prove, origin)
    if os.path.isabs(name):
        logger.info(
            f"{out / ADAPTER}: names its base by the absolute path {name}, as it has no hub id; before you publish or "
            "move it, export it again with --base-name ORG/NAME"
        )
    return found


def _save_inputs(opened: OpenedRun, complete: PreTrainedModel, folder: Path) -> None:
    """Write the tokenizer or processor with the run's template, and the end tokens, beside the adapter."""
    encoder = opened.encoder
    generation = generation_config(complete, encoder.tokenizer, encoder.stop_ids)
    jinja, pad = encoder.template.jinja, generation.pad_token_id
    if isinstance(opened.model, VlmModel):
        build_processor(opened.model.vision.tower, encoder.tokenizer, jinja, pad).save_pretrained(folder)
    else:
        inference_tokenizer(encoder.tokenizer, jinja, pad).save_pretrained(folder)
    generation.save_pretrained(folder)


def _prove_batch(opened: OpenedRun, base: PreTrainedModel, adapter: Path) -> None:
    """Raise ModelError unless base and adapter answer a batch of unequal prompts as one by one."""
    if not isinstance(opened.model, VlmModel):
        prove_text_batch(base, reload_tokenizer(adapter))
        return
    with as_model_error(f"{adapter}: the exported processor does not load again"):
        processor = hf_loaders.load_processor(adapter)
    prove_image_batch(base, processor, opened.model.vision.preprocess.size)


def _models(opened: OpenedRun) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The complete model, and the language model inside it or the same."""
    if isinstance(opened.model, VlmModel):
        return opened.model.vision.hf, opened.model.vision.language_model
    return opened.model.llm, opened.model.llm


def _plain(folder: Path, sees: bool, dtype: torch.dtype) -> PreTrainedModel:
    """A folder loaded by transformers, weights rounded to `dtype`, computing in fp32."""
    auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    with as_model_error(f"{folder}: cannot be loaded to check the adapter on it"):
        model: PreTrainedModel = hf_loaders.load_model(auto, folder, dtype=dtype).float().eval()
    return model
