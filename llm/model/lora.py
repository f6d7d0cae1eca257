"""Which parameters of a language model or tower train: all, low-rank adapters (peft's LoRA) or none; and merging."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as PeftLinear
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from llm.config.schema import TuneConfig
from llm.errors import ConfigError

ADAPTER_NAME = "default"  # peft's name of an only adapter


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adapters W + alpha / rank * B A (arXiv 2106.09685), on `targets` or on every linear when empty."""

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


class LoraLinear(PeftLinear):
    """peft's LoRA layer, same values, less work: the scale multiplies the `rank` wide product, not the output.

    Measured on SmolLM2-135M, bf16, rank 16, 512 tokens, one thread of a shared CPU, best of 13: forward and backward
    take 1.13 times a frozen model's, with peft's own forward 1.27 times. Dropout costs far more than either: 1.7
    times with 0.05. It serves dense and 4-bit linears alike.
    """

    base_layer: nn.Linear
    scaling: dict[str, float]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # peft's signature
        plain: Tensor = self.base_layer(x)
        if self.disable_adapters:
            return plain
        narrow = self.lora_A[ADAPTER_NAME](self.lora_dropout[ADAPTER_NAME](x)) * self.scaling[ADAPTER_NAME]
        wide: Tensor = self.lora_B[ADAPTER_NAME](narrow)
        return plain + wide

    def factors(self) -> dict[str, Tensor]:
        """A [rank, in] and B [out, rank] under peft's names."""
        parts: dict[str, Any] = {"lora_A": self.lora_A[ADAPTER_NAME], "lora_B": self.lora_B[ADAPTER_NAME]}
        return {name: part.weight.detach() for name, part in parts.items()}

    def delta(self) -> Tensor:
        """What the adapter adds to the weight, in fp32."""
        factors = self.factors()
        return self.scaling[ADAPTER_NAME] * (factors["lora_B"].float() @ factors["lora_A"].float())


# What trains ----------------------------------------------------------------------------------------------------------


def apply_tuning(llm: PreTrainedModel, tune: TuneConfig) -> list[nn.Parameter]:
    """Open what `tune` trains in the language part of `llm`, freeze the rest of that part, return what trains.

    `llm` is a causal LM, its body, or a vision model around one, whose tower and projector stay as they are.
    Adapters are put into the decoder's layers in place, never into the head. Raises ConfigError for targets that
    name nothing, and for full training of 4-bit weights.
    """
    parts = language_parts(llm)
    if tune.kind == "full":
        trained = unique(parameter for part in parts for parameter in train_parameters(part))
        return trained if tune.embeddings else without_embeddings(llm, trained)
    for part in parts:
        part.requires_grad_(False)
    if tune.kind == "frozen":
        return []
    return inject_adapter(parts[0], LoraSettings(tune.rank, tune.alpha, tune.dropout, tune.targets))


def without_embeddings(llm: PreTrainedModel, trained: list[nn.Parameter]) -> list[nn.Parameter]:
    """Freeze token embeddings and head, and return the rest of `trained`."""
    whole: Any = llm
    tables = {id(part.weight) for part in (whole.get_input_embeddings(), whole.get_output_embeddings()) if part}
    for parameter in trained:
        parameter.requires_grad_(id(parameter) not in tables)
    return [parameter for parameter in trained if parameter.requires_grad]


def train_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Let every parameter of `module` train and return them, each once."""
    if any(is_four_bit(inner) for inner in module.modules()):
        raise ConfigError("tune.kind: full: found 4-bit weights, which cannot train. Use qlora, or four_bit: false.")
    module.requires_grad_(True)
    return unique(module.parameters())


def inject_adapter(module: nn.Module, adapter: LoraSettings) -> list[nn.Parameter]:
    """Freeze `module`, put adapters onto linears of its repeated layers in place, return the adapters' parameters.

    They come in the dtype that their linear computes in: bf16 adapters on a bf16 or 4-bit base.
    """
    targets = adapter_targets(module, adapter.targets)
    inject_adapter_in_model(adapter_config(adapter, targets), module, adapter_name=ADAPTER_NAME)
    for _, layer in lora_layers(module):
        dtype = compute_dtype(layer.base_layer)
        layer.lora_A.to(dtype)
        layer.lora_B.to(dtype)
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def adapter_config(adapter: LoraSettings, targets: tuple[str, ...]) -> LoraConfig:
    """peft's form of an adapter, with our layer in the place of peft's."""
    alpha: Any = int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=alpha,
        lora_dropout=adapter.dropout,
        target_modules=[*targets],
        task_type="CAUSAL_LM",
    )
    config._register_custom_module({nn.Linear: LoraLinear})  # documented in peft's guide "Custom models"
    return config


def adapter_targets(module: nn.Module, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Full names of the linears that get adapters: all that stand in repeated layers, or those that `wanted` names.

    A repeated layer is known by the number in its name. So the head, a projector and a pooling head stay out, which
    `all-linear` would hit; so does the linear inside torch's MultiheadAttention, whose forward is never called.
    """
    linears = [name for name, inner in module.named_modules() if is_linear(inner) and in_repeated_layer(name)]
    lost = [target for target in wanted if not any(matches(name, target) for name in linears)]
    if lost or not linears:
        known = ", ".join(last_parts(linears)) or "none"
        kind = type(module).__name__
        raise ConfigError(f"tune.targets: {', '.join(lost) or 'every linear'}: not found in {kind}; it has: {known}.")
    return tuple(name for name in linears if not wanted or any(matches(name, target) for target in wanted))


def matches(name: str, target: str) -> bool:
    """Whether `target` is the module's name or its end, as in `q_proj` or `self_attn.q_proj`."""
    return name == target or name.endswith(f".{target}")


def in_repeated_layer(name: str) -> bool:
    """Whether a number stands in the module's name, as in `layers.3.mlp.up_proj`."""
    return any(part.isdigit() for part in name.split("."))


def last_parts(names: list[str]) -> list[str]:
    """`q_proj` of `layers.0.self_attn.q_proj`, each once, sorted."""
    return sorted({name.rpartition(".")[2] for name in names})


def language_parts(llm: PreTrainedModel) -> list[nn.Module]:
    """The decoder, and the head where there is one."""
    whole: Any = llm
    head = whole.get_output_embeddings()
    decoder: nn.Module = whole.get_decoder()
    return [decoder] if head is None else [decoder, head]


def unique(parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
    """Each parameter once, in order: a tied head is the embedding."""
    return list(dict.fromkeys(parameters))


# Merging and switching off --------------------------------------------------------------------------------------------


@torch.no_grad()
def merge_adapters(module: nn.Module, dense: bool = True) -> None:
    """Add all adapters to their weights in place and remove them; then plain linears are left.

    The sum is taken in fp32 and rounded once to the weight's dtype. A 4-bit weight becomes a dense one in its compute
    dtype: training computed with exactly these dequantised values, so that rounding is the only error (none in fp32,
    up to 2^-9 of each weight in bf16). 4-bit linears without an adapter become dense too, unless `dense` is False.
    """
    replace_adapted(module, merged, dense)


@torch.no_grad()
def strip_adapters(module: nn.Module) -> None:
    """Remove all adapters in place; what is below them stays, 4-bit weights as the dense ones they stand for."""
    replace_adapted(module, below, dense=True)


@torch.no_grad()
def densify(module: nn.Module) -> None:
    """Put the dense weights that 4-bit ones stand for in their place; adapters stay on them."""
    for _, layer in list(lora_layers(module)):
        layer.base_layer = below(layer)
    replace_adapted(module, lambda layer: layer, dense=True)


def replace_adapted(module: nn.Module, plain: Callable[["LoraLinear"], nn.Module], dense: bool) -> None:
    """Put `plain(layer)` in the place of every adapted layer and, if `dense`, dense linears in that of 4-bit ones."""
    for parent in [parent for parent in module.modules() if not isinstance(parent, LoraLinear)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                parent.set_submodule(name, plain(child))
            elif dense and is_four_bit(child):
                parent.set_submodule(name, dense_linear(child))
    if next(lora_layers(module), None) is None:
        for inner in module.modules():
            vars(inner).pop("peft_config", None)  # peft leaves it on what it was injected into
    for inner in module.modules():
        if isinstance(inner, PreTrainedModel) and not any(is_four_bit(part) for part in inner.modules()):
            forget_quantisation(inner)


def below(layer: LoraLinear) -> nn.Linear:
    """The layer's linear without the adapter, dense."""
    return dense_linear(layer.base_layer) if is_four_bit(layer.base_layer) else layer.base_layer


def merged(layer: LoraLinear) -> nn.Module:
    """The layer's linear with the adapter in its weight."""
    linear = below(layer)
    linear.weight.copy_(linear.weight.float() + layer.delta())
    return linear


def dense_linear(quantised: nn.Module) -> nn.Linear:
    """A 4-bit linear as a plain one in its compute dtype."""
    layer: Any = quantised
    weight = dense_weight(layer)
    linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        linear.bias = nn.Parameter(layer.bias.detach().to(weight.dtype), requires_grad=False)
    return linear


def dense_weight(quantised: Any) -> Tensor:  # bitsandbytes' untyped Linear4bit
    """[out, in]: the dequantised weight of a 4-bit linear, empty on the meta device."""
    dtype = compute_dtype(quantised)
    if quantised.weight.is_meta:
        return torch.empty(quantised.out_features, quantised.in_features, dtype=dtype, device=quantised.weight.device)
    from bitsandbytes.functional import dequantize_4bit

    weight: Tensor = dequantize_4bit(quantised.weight.data, quantised.weight.quant_state).to(dtype)
    return weight


def forget_quantisation(model: PreTrainedModel) -> None:
    """Undo the marks of 4-bit loading, so that the dense model saves and moves as one."""
    marks: Any = vars(model)
    for mark in ("hf_quantizer", "quantization_method", "is_loaded_in_4bit", "is_quantized"):
        marks.pop(mark, None)
    for config in (model.config, model.config.get_text_config()):
        vars(config).pop("quantization_config", None)


@contextmanager
def adapters_off(module: nn.Module) -> Iterator[None]:
    """Inside, `module` answers as its base does; which parameters train is as before afterwards."""
    layers = [layer for _, layer in lora_layers(module)]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    was_on = [layer for layer in layers if not layer.disable_adapters]
    try:
        for layer in was_on:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in was_on:
            layer.enable_adapters(True)
            layer.requires_grad_(False)  # peft opens adapters that were frozen
        for parameter in trained:
            parameter.requires_grad_(True)


# Saving ---------------------------------------------------------------------------------------------------------------


def save_adapter(
    llm: PreTrainedModel, tune: TuneConfig, folder: Path, base_name: str, whole: nn.Module | None = None
) -> None:
    """Write the LLM's adapters as peft's own files, for `PeftModel.from_pretrained(<causal LM base_name>, folder)`.

    From a body or a vision model too: the names are those of the plain causal LM or, with `whole`, those that the
    LLM's modules have in it; its other parts may have modules of the same last names, so the targets are then whole.
    """
    decoder: Any = language_parts(llm)[0]
    prefix = module_prefix(whole, decoder) if whole is not None else decoder_prefix(llm, decoder)
    layers = list(lora_layers(decoder))
    assert layers, "no adapters to save"
    state = {
        f"base_model.model.{prefix}{name}.{factor}.weight": tensor.cpu().contiguous()
        for name, layer in layers
        for factor, tensor in layer.factors().items()
    }
    targets = tune.targets or tuple(last_parts([name for name, _ in layers]))
    if whole is not None:
        targets = tuple(f"{prefix}{name}" for name, _ in layers)
    config = adapter_config(LoraSettings(tune.rank, tune.alpha, tune.dropout, tune.targets), targets)
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(str(folder))


def decoder_prefix(llm: PreTrainedModel, decoder: PreTrainedModel) -> str:
    """What stands before the decoder's module names in a plain causal LM, such as `model.`."""
    is_causal_lm = llm is not decoder and llm.config.get_text_config() is llm.config
    if is_causal_lm:
        return module_prefix(llm, decoder)
    return f"{decoder.base_model_prefix}."


def module_prefix(whole: nn.Module, part: nn.Module) -> str:
    """What stands before the names of `part`'s modules in `whole`."""
    return next(f"{name}." for name, inner in whole.named_modules() if inner is part)


# Kinds of layers ------------------------------------------------------------------------------------------------------


def lora_layers(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Every adapted linear with its name."""
    return ((name, inner) for name, inner in module.named_modules() if isinstance(inner, LoraLinear))


def is_linear(module: nn.Module) -> bool:
    """A plain or 4-bit linear, not a subclass that others read the weight of."""
    return type(module) is nn.Linear or is_four_bit(module)


def is_four_bit(module: nn.Module) -> bool:
    """bitsandbytes' layer, known by name so that models without one need no bitsandbytes."""
    return type(module).__name__ == "Linear4bit"


def compute_dtype(linear: Any) -> torch.dtype:  # nn.Linear or bitsandbytes' untyped Linear4bit
    """The dtype a linear multiplies in."""
    dtype: torch.dtype = linear.compute_dtype if is_four_bit(linear) else linear.weight.dtype
    return dtype
