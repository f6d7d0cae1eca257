"""Adapter folders in peft's format: written, and checked before peft reads them: settings and vocabulary.

Anyone may have written that file. peft takes several of its strings for regular expressions and matches them with
`re`, which takes exponential time for some. Target patterns are therefore matched here and passed on as names; where
peft itself writes plain names, nothing else is accepted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from llm.config.schema import TuneConfig
from llm.errors import ModelError
from llm.files.untrusted_json import read_object
from llm.model.lora import LoraSettings, decoder_and_head, last_parts, lora_layers, peft_config
from llm.model.model_folder import ADAPTER_FILE
from llm.model.name_pattern import UnknownPatternError, compile_pattern

NAME = re.compile(r"[\w-]+(\.[\w-]+)*")
EVERY_LINEAR = "all-linear"  # peft's keyword
# Keys whose strings peft may take for regular expressions, in lists or as keys of an object.
NAMES = ("modules_to_save", "layers_pattern", "rank_pattern", "alpha_pattern", "target_parameters")
MOST_COPIES = 1000  # layers that `layer_replication` may make
SHAPES = re.compile(rb'"([^"]+)":\{[^{}]*?"shape":\[([\d,]+)\]')
SIZES = re.compile(rb'lora_(?:embedding_)?A[^}]*?"shape":\[([\d,]+)\]')


def read_adapter_config(folder: Path, modules: Sequence[str]) -> LoraConfig:
    """The config of a LoRA adapter for a model with these modules; target patterns become lists of names.

    Raises ModelError that names file and key for anything but a LoRA adapter, and for sizes out of bounds.
    """
    file = folder / ADAPTER_FILE
    if not file.is_file():
        raise ModelError(f"{folder}: {ADAPTER_FILE} is missing. Name the folder that peft's save wrote")
    settings = read_object(file)
    if settings.get("peft_type") != "LORA":
        found = settings.get("peft_type", "nothing")
        raise ModelError(f"{file}: peft_type is {found!r}; only LORA adapters are read. Merge it with peft itself")
    if settings.get("megatron_config"):
        raise ModelError(f"{file}: megatron_config names modules to import, which is not done. Remove it")
    if settings.get("target_modules") is None and settings.get("target_parameters") is None:
        raise ModelError(f"{file}: target_modules is missing: it names no module that the adapter belongs to")
    _refuse_patterns(file, settings)
    _refuse_sizes(file, settings, _ranks(folder))
    if settings.get("layer_replication") and isinstance(settings.get("target_modules"), str):
        raise ModelError(f"{file}: target_modules is a pattern beside layer_replication. Write the names as a list")
    targets = {key: _names(file, key, settings.get(key), modules) for key in ("target_modules", "exclude_modules")}
    untyped: Any = LoraConfig
    config = untyped.from_peft_type(**untyped.check_kwargs(**settings | targets))
    assert isinstance(config, LoraConfig)
    return config


def save_adapter(
    llm: PreTrainedModel, tune: TuneConfig, folder: Path, base_name: str, full_model: nn.Module | None = None
) -> None:
    """Write the LLM's adapters as peft's files, for `PeftModel.from_pretrained(<causal LM base_name>, folder)`.

    `llm` may be a causal LM, its body or a vision model. Tensors are named as in the plain causal LM or as in
    `full_model`, if given; target modules are then full names, as its other parts may have modules of the same last
    names.
    """
    decoder = decoder_and_head(llm)[0]
    prefix = _module_prefix(full_model, decoder) if full_model is not None else _decoder_prefix(llm, decoder)
    layers = list(lora_layers(decoder))
    assert layers, "no adapters to save"
    state = {
        f"base_model.model.{prefix}{name}.{factor}.weight": tensor.cpu().contiguous()
        for name, layer in layers
        for factor, tensor in layer.factors().items()
    }
    targets = tune.targets or tuple(last_parts([name for name, _ in layers]))
    if full_model is not None:
        targets = tuple(f"{prefix}{name}" for name, _ in layers)
    config = peft_config(LoraSettings(tune.rank, tune.alpha, tune.dropout, tune.targets), targets)
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(str(folder))


def grow_vocabulary(model: PreTrainedModel, folder: Path) -> int:
    """Resize the model's embeddings, in place, to the rows that an adapter has for them; returns the rows added.

    An adapter that was trained with added tokens holds complete embeddings. Raises ModelError, with both sizes, where
    it has fewer rows than the model, or rows for only one of an embedding and an untied head.
    """
    parts = {"embeddings": model.get_input_embeddings(), "LM head": model.get_output_embeddings()}
    have = vocabulary_rows(model)
    shapes = _tensor_shapes(folder / "adapter_model.safetensors")
    found = {part: shape[0] for part, module in parts.items() if (shape := _dense_shape(model, module, shapes))}
    narrow = [rows for rows in found.values() if rows < have]
    if narrow:
        raise ModelError(
            f"{folder}: holds embeddings of {narrow[0]:,} tokens, the model has {have:,}: it belongs to another model"
        )
    rows = max(found.values(), default=have)
    if rows == have:
        return 0
    head = parts["LM head"]
    tied = head is None or weight_of(head) is weight_of(model.get_input_embeddings())
    lacking = [part for part in parts if found.get(part) != rows]
    if lacking and not tied:
        raise ModelError(
            f"{folder}: was trained on {rows:,} tokens, the model has {have:,}, and the adapter holds no {lacking[0]} "
            "for the added ones. Train it with modules_to_save: [embed_tokens, lm_head]"
        )
    model.resize_token_embeddings(rows, mean_resizing=False)  # the adapter's own rows replace the new ones
    return rows - have


def vocabulary_rows(model: PreTrainedModel) -> int:
    """The number of token embeddings of a model."""
    return len(weight_of(model.get_input_embeddings()))


def weight_of(module: nn.Module) -> Tensor:
    """The weight of an embedding or a head."""
    return cast(nn.Linear, module).weight


def _dense_shape(
    model: nn.Module, module: nn.Module | None, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...] | None:
    """The shape of the complete weight that an adapter holds for a module of the model; None where it holds none."""
    names = [name for name, inner in model.named_modules() if inner is module]
    wanted = {f"base_model.model.{name}{part}.weight" for name in names for part in ("", ".base_layer")}
    return next((shape for name, shape in shapes.items() if name in wanted and len(shape) == 2), None)


# Writing --------------------------------------------------------------------------------------------------------------


def _decoder_prefix(llm: PreTrainedModel, decoder: nn.Module) -> str:
    """The start of the decoder's module names in a plain causal LM, such as `model.`."""
    is_causal_lm = llm is not decoder and llm.config.get_text_config() is llm.config
    if is_causal_lm:
        return _module_prefix(llm, decoder)
    assert isinstance(decoder, PreTrainedModel)
    return f"{decoder.base_model_prefix}."


def _module_prefix(full_model: nn.Module, part: nn.Module) -> str:
    """The start of the names of `part`'s modules in `full_model`."""
    return next(f"{name}." for name, inner in full_model.named_modules() if inner is part)


# Checks ---------------------------------------------------------------------------------------------------------------


def _names(file: Path, key: str, found: object, modules: Sequence[str]) -> list[str] | str | None:
    """The names of a list as they are, or the names of `modules` that a pattern matches."""
    if found is None or found == EVERY_LINEAR:
        return EVERY_LINEAR if found else None
    if isinstance(found, list) and all(isinstance(name, str) and NAME.fullmatch(name) for name in found):
        return found
    if not isinstance(found, str):
        raise ModelError(f"{file}: {key} is {_short(found)}, no list of module names. Write it with peft")
    try:
        fits = compile_pattern(found)
    except UnknownPatternError as cause:
        raise ModelError(
            f"{file}: {key} is a pattern that is not matched here: {cause}. Write the module names as a list"
        ) from cause
    matched = [name for name in modules if name and fits(name)]
    if not matched and key == "target_modules":
        raise ModelError(f"{file}: {key}: no module of the model is named like {_short(found)}. Is it another model's?")
    ends = tuple(f".{name}" for name in matched)  # peft also matches names that end with this one
    others = [name for name in modules if name.endswith(ends) and name not in matched] if ends else []
    if others:
        raise ModelError(f"{file}: {key}: {_short(found)} means modules whose names {others[0]} ends with. List them")
    return matched


def _refuse_patterns(file: Path, settings: Mapping[str, Any]) -> None:
    for key in NAMES:
        for name in _texts(file, key, settings.get(key)):
            if not NAME.fullmatch(name):
                raise ModelError(f"{file}: {key}: {_short(name)} is no plain module name. Write the name itself")


def _texts(file: Path, key: str, found: object) -> Iterator[str]:
    """The names under a key: a string, a list, or the keys of an object."""
    names = [found] if isinstance(found, str) else list(found) if isinstance(found, list | dict) else []
    if (found is not None and not isinstance(found, str | list | dict)) or not all(isinstance(n, str) for n in names):
        raise ModelError(f"{file}: {key} is {_short(found)}, no list of module names. Write it with peft")
    yield from names


def _refuse_sizes(file: Path, settings: Mapping[str, Any], largest: int | None) -> None:
    """Raise ModelError for ranks that are no number or exceed those of the tensors, and for too many copied layers."""
    ranks = {f"rank_pattern.{name}": rank for name, rank in (settings.get("rank_pattern") or {}).items()}
    for key, rank in (ranks | {"r": settings.get("r", 8)}).items():
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise ModelError(f"{file}: {key} is {_short(rank)}; a rank is a whole number of 1 or more")
        if largest is not None and key == "r" and rank > largest and not ranks:
            raise ModelError(f"{file}: {key} is {rank:,}, but its weights have ranks up to {largest:,}")
        if rank > max(largest or 0, 2**14):
            raise ModelError(f"{file}: {key} is {rank:,}, which its weights cannot fill")
    copies = settings.get("layer_replication") or []
    pairs = isinstance(copies, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, int) for end in pair) for pair in copies
    )
    if not pairs or sum(abs(end - start) for start, end in copies) > MOST_COPIES:
        raise ModelError(
            f"{file}: layer_replication is {_short(copies)}: pairs of numbers, {MOST_COPIES} layers at most"
        )


def _ranks(folder: Path) -> int | None:
    """The largest rank among the tensors of a safetensors file; None without one."""
    header = _header(folder / "adapter_model.safetensors")
    return max((int(shape.split(b",")[0]) for shape in SIZES.findall(header)), default=None)


def _tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a safetensors file by name; empty without the file or with a broken header."""
    found = SHAPES.findall(_header(file))
    return {name.decode("utf-8", "replace"): tuple(int(size) for size in sizes.split(b",")) for name, sizes in found}


def _header(file: Path) -> bytes:
    """The JSON header of a safetensors file, 128 MiB of it at most; empty without one."""
    if not file.is_file():
        return b""
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        return content.read(min(length, 2**27))


def _short(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:60]}..."
