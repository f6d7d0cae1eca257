"""A LoRA run as an adapter that plain peft loads, and the model below it beside it where that is ours too."""

from pathlib import Path
from typing import Any

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
    """Write `out/adapter` and, unless the recipe's own LLM is all that is below it, `out/base`; prove both together.

    The adapter is the LLM's alone (vLLM refuses more): the projector and tower of a vision run, what earlier stages
    trained, and the dense weights that 4-bit ones stand for are in the base. Returns the largest difference of a
    logit; the base is proved by itself as well, with a picture. Raises ConfigError for a run without adapters.
    """
    tune = opened.config.tune
    if tune.kind not in ("lora", "qlora"):
        raise ConfigError(f"--to peft: this run trained with tune.kind: {tune.kind}, which leaves no adapter. Use hf")
    own_base = isinstance(opened.model, VlmModel) or bool(opened.config.start) or tune.kind == "qlora"
    base_name = f"{out.name}/{BASE}" if own_base else opened.config.model.llm
    whole, llm = _models(opened)
    if isinstance(opened.model, VlmModel):
        merge_adapters(opened.model.vision.tower)  # a tower's own adapters belong to the base
    densify(whole)
    ids = torch.randint(0, opened.encoder.tokenizer.vocab_size, (1, PROMPT_LENGTH))
    with proving(whole):
        trained = logits(whole, input_ids=ids.to(whole.device)).cpu()

    def write(folder: Path) -> None:
        save_adapter(llm, tune, folder / ADAPTER, base_name, whole if whole is not llm else None)
        if own_base:
            strip_adapters(whole)
            export_plain(opened, folder / BASE, dtype)

    def prove(folder: Path) -> float:
        # The adapter was trained on weights of the run's dtype: a base that holds finer ones is rounded as it was then.
        trained_on = torch.float32 if own_base else dtype_of(opened.config)
        below = folder / BASE if own_base else Path(opened.config.model.llm)
        base = _plain(below, isinstance(opened.model, VlmModel), trained_on)
        adapted: Any = hf_loaders.load_adapter(base, folder / ADAPTER)
        return difference(logits(adapted, input_ids=ids), trained, dtype if own_base else torch.float32)

    return write_and_prove(out, write, prove, origin)


def _models(opened: OpenedRun) -> tuple[PreTrainedModel, PreTrainedModel]:
    """The whole model, and the language model in it or itself."""
    if isinstance(opened.model, VlmModel):
        return opened.model.vision.hf, opened.model.vision.language_model
    return opened.model.llm, opened.model.llm


def _plain(folder: Path, sees: bool, dtype: torch.dtype) -> PreTrainedModel:
    """A folder as anyone loads it, weights in `dtype`, computing in fp32."""
    auto: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    with as_model_error(f"{folder}: cannot be loaded to prove the adapter on it"):
        model: PreTrainedModel = hf_loaders.load_model(auto, folder, dtype=dtype).float().eval()
    return model
