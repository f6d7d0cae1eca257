"""Export of a trained causal LM as a Hugging Face folder, which is verified by loading it again.

The steps are shared with `vlm.export.hf`: dense weights in one dtype are written to a temporary folder, reloaded, their
logits compared, and the folder renamed.
"""

import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from llm.errors import ModelError
from llm.files.folder_replacement import (
    UNNAMED,
    Origin,
    check_replaceable,
    publish,
    reporting_disk_errors,
    staging_folder,
)
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.batch_proof import prove_text_batch
from llm.model.eval_mode import eval_mode
from llm.model.exported_tokenizer import inference_tokenizer
from llm.model.quantization import is_four_bit

SHARD = "5GB"
LIMIT = 1e-4  # largest difference of a logit with weights written in fp32
# For weights rounded to bf16: rms difference in standard deviations of the logits. A lost tensor exceeds it.
ROUNDED_LIMIT = 0.25
PROMPT_LENGTH = 24


def export_llm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template_jinja: str,
    out: Path,
    dtype: torch.dtype,
    stop_ids: Sequence[int] = (),
    origin: Origin = UNNAMED,
) -> float:
    """Write a causal LM whose adapters are merged, reload it, and return the largest difference of a logit.

    `stop_ids`, the template's end tokens, are added to the LLM's own end tokens. Raises ModelError when the reloaded
    model differs, when it answers a batch of unequal prompts otherwise than one by one, or when the folder cannot be
    made; RunError when `out` cannot be written.
    """

    def write(folder: Path) -> None:
        plain = plain_model(type(model), model.config, dense_state(model), dtype)
        plain.generation_config = generation_config(model, tokenizer, stop_ids)
        plain.save_pretrained(folder, max_shard_size=SHARD)
        inference_tokenizer(tokenizer, template_jinja, plain.generation_config.pad_token_id).save_pretrained(folder)

    def prove(folder: Path) -> float:
        ids = torch.randint(0, model.config.vocab_size, (1, PROMPT_LENGTH), generator=torch.Generator().manual_seed(0))
        with proving(model):
            trained = logits(model, input_ids=ids.to(model.device)).cpu()
        reloaded = reload(AutoModelForCausalLM, folder)
        found = difference(logits(reloaded, input_ids=ids), trained, dtype)
        prove_text_batch(reloaded, reload_tokenizer(folder))
        return found

    return write_and_prove(out, write, prove, origin)


def write_and_prove(
    out: Path, write: Callable[[Path], None], prove: Callable[[Path], float], origin: Origin = UNNAMED
) -> float:
    """Write a hidden folder next to `out`, verify it by `prove`, and only then replace an older export by it.

    An older export is recognised by our mark in it. Raises RunError where `out` holds anything else, or an export of
    another origin that `origin` may not replace.
    """
    check_replaceable(out, origin)
    place = Path(os.path.realpath(out))  # a symbolic link keeps its target, whose content is replaced
    with reporting_disk_errors(out), staging_folder(place) as partial:
        write(partial)
        result = prove(partial)
        if origin.card is not None:
            origin.card(partial, result)
        publish(partial, place, origin)
    return result


def plain_model(
    kind: type[PreTrainedModel], config: PreTrainedConfig, state: dict[str, Tensor], dtype: torch.dtype
) -> PreTrainedModel:
    """A model of transformers' class `kind` with the weights `state` in `dtype`. ModelError when names do not fit."""
    config = copy.deepcopy(config)
    for part in (config, *(getattr(config, name) for name in config.sub_configs)):
        part.dtype = dtype
        part._name_or_path = ""  # a path of this machine
        part.__dict__.pop("quantization_config", None)
        if "use_cache" in part.__dict__:
            part.use_cache = True  # training had it off
    with torch.device("meta"):
        plain = kind(config)
    cast = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    try:
        plain.load_state_dict(cast, assign=True)
    except RuntimeError as error:
        raise ModelError(f"the trained weights do not fit {kind.__name__}: {error}") from error
    plain.tie_weights()
    return plain


def dense_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict. Raises ModelError while it has adapters or 4-bit weights."""
    state = model.state_dict()
    left = [name for name in state if "lora_" in name or ".base_layer." in name]
    left += [name for name, module in model.named_modules() if is_four_bit(module)]
    if left:
        raise ModelError(f"adapters or 4-bit weights are not merged yet, such as {left[0]}. Merge before the export")
    return state


@contextmanager
def proving(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in eval mode, without gradients, and its weights are cast to fp32 one by one, in place.

    Afterwards modes and dtypes are as before; bf16 weights are exact in fp32.
    """
    tensors = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    rounded = [
        (tensor, tensor.dtype)
        for tensor in tensors.values()
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    ]
    try:
        for tensor, _ in rounded:
            tensor.data = tensor.data.float()
        with eval_mode(model), torch.no_grad():
            yield
    finally:
        for tensor, dtype in rounded:
            tensor.data = tensor.data.to(dtype)


@torch.no_grad()
def logits(model: PreTrainedModel, **inputs: Tensor) -> Tensor:
    """[1, T, V]: the logits of one unpadded sequence."""
    output = model(**inputs, use_cache=False)
    assert isinstance(output.logits, Tensor)
    return output.logits


def reload(auto: type[AutoModelForCausalLM | AutoModelForImageTextToText], folder: Path) -> PreTrainedModel:
    """The folder loaded by plain transformers, in fp32. ModelError when a weight is missing or unexpected."""
    with as_model_error(f"{folder}: the exported folder does not load again"):
        model, report = hf_loaders.load_model_with_report(auto, folder, dtype=torch.float32)
    wrong = (*report.missing, *report.unexpected, *report.mismatched)
    if wrong:
        raise ModelError(f"the exported weights do not load again: {', '.join(wrong[:4])}")
    model.eval()
    return model


def reload_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer, loaded by plain transformers."""
    with as_model_error(f"{folder}: the exported tokenizer does not load again"):
        return hf_loaders.load_tokenizer(folder)


def difference(reloaded: Tensor, trained: Tensor, dtype: torch.dtype) -> float:
    """The largest difference of a logit. ModelError when it is more than rounding to `dtype` explains."""
    error = reloaded.float() - trained.float()
    largest = float(error.abs().max())
    if dtype == torch.float32:
        found, limit = largest, LIMIT
    else:
        found, limit = float(error.square().mean().sqrt()), ROUNDED_LIMIT * float(trained.float().std())
    if not found <= limit:  # NaN fails too
        raise ModelError(
            f"the exported model's logits differ from the trained model's by {found:.2e}, more than {limit:.2e}. "
            "Nothing was written. Please report this with the recipe"
        )
    return largest


def generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]
) -> GenerationConfig:
    """Greedy decoding that ends at `stop_ids`, the LLM's own end tokens and the tokenizer's."""
    assert model.generation_config is not None
    before = model.generation_config.eos_token_id
    before = before if isinstance(before, list) else [before]
    ends = [number for number in (*stop_ids, *before, tokenizer.eos_token_id) if number is not None]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends), None)
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=list(dict.fromkeys(ends)) or None, pad_token_id=pad
    )


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    """Rename the tensors of a saved model, in every shard and in the index."""
    from safetensors.torch import load_file, save_file

    for file in folder.glob("*.safetensors"):
        save_file({rename(name): tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_text(encoding="utf-8"))
        content["weight_map"] = {rename(name): file for name, file in content["weight_map"].items()}
        index.write_text(json.dumps(content, indent=2), encoding="utf-8")
