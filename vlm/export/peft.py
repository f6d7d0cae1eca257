"""Export of a LoRA run to an adapter that plain peft loads, with its base model where that was trained too."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from llm.errors import ConfigError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.adapter_files import save_adapter
from llm.model.hf_export import PROMPT_LENGTH, difference, logits, proving, write_and_prove
from llm.model.merge import densify, merge_adapters, strip_adapters
from llm.model.precision import dtype_of
from vlm.export.plain import export_plain
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun

ADAPTER, BASE = "adapter", "base"


def export_peft(opened: OpenedRun, out: Path, dtype: torch.dtype, origin: Origin = UNNAMED) -> float:
    """Write `out/adapter` and, unless its base is simply the recipe's LLM, `out/base`; check both together.

    The adapter is for the LLM alone (vLLM accepts no other): the base holds the projector and tower of a vision run,
    what earlier runs trained, and the dense equivalent of 4-bit weights. Returns the largest difference of a logit; the
    base is checked by itself too, with an image. Raises ConfigError for a run without adapters.
    """
    tune = opened.config.tune
    if tune.kind not in ("lora", "qlora"):
        raise ConfigError(f"--to peft: this run trained with tune.kind: {tune.kind}, which leaves no adapter. Use hf")
    own_base = isinstance(opened.model, VlmModel) or bool(opened.config.start) or tune.kind == "qlora"
    base_name = f"{out.name}/{BASE}" if own_base else opened.config.model.llm
    complete, llm = _models(opened)
    if isinstance(opened.model, VlmModel):
        merge_adapters(opened.model.vision.tower.module)  # a tower's adapters belong to the base
    densify(complete)
    ids = torch.randint(0, opened.encoder.tokenizer.vocab_size, (1, PROMPT_LENGTH))
    with proving(complete):
        trained = logits(complete, input_ids=ids.to(complete.device)).cpu()

    def write(folder: Path) -> None:
        save_adapter(llm, tune, folder / ADAPTER, base_name, complete if complete is not llm else None)
        if own_base:
            strip_adapters(complete)
            export_plain(opened, folder / BASE, dtype)

    def prove(folder: Path) -> float:
        # The adapter was trained on weights of the run's dtype: a base of higher precision is rounded as in training.
        trained_on = torch.float32 if own_base else dtype_of(opened.config)
        base_folder = folder / BASE if own_base else Path(opened.config.model.llm)
        base = _plain(base_folder, isinstance(opened.model, VlmModel), trained_on)
        hf_loaders.load_adapter(base, folder / ADAPTER)  # in place
        return difference(logits(base, input_ids=ids), trained, dtype if own_base else torch.float32)

    return write_and_prove(out, write, prove, origin)


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
