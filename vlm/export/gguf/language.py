"""Llama- and Qwen-like causal LMs as llama.cpp's tensors and fields."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from llm.errors import ConfigError
from vlm.export.gguf.file import GgufTensor

# transformers' model_type -> llama.cpp's architecture.
ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA,
    "mistral": MODEL_ARCH.LLAMA,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3,
}
ROPES = {"default", "linear", "llama3"}
SUFFIXES = (".weight", ".bias")


def architecture(config: PreTrainedConfig) -> str:
    """llama.cpp's name of the architecture. Raises ConfigError with the reason for a model that is not supported."""
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise ConfigError(f"--to gguf: a {kind} language model; {', '.join(ARCHITECTURES)} are supported. Use --to hf")
    if config.hidden_act != "silu":
        raise ConfigError(f"--to gguf: a {kind} model with {config.hidden_act}; llama.cpp's use silu. Use --to hf")
    rope = _rope(config)
    known = ROPES if ARCHITECTURES[kind] == MODEL_ARCH.LLAMA else ROPES - {"llama3"}
    if rope["rope_type"] not in known:
        raise ConfigError(f"--to gguf: {rope['rope_type']} positions in a {kind} model are not supported. Use --to hf")
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True) and window < config.max_position_embeddings:
        raise ConfigError(f"--to gguf: sliding-window attention of {window} tokens is not supported. Use --to hf")
    return MODEL_ARCH_NAMES[ARCHITECTURES[kind]]


def add_language(file: GGUFWriter, config: PreTrainedConfig, vocabulary_size: int) -> None:
    """Add the fields that describe the network."""
    rope = _rope(config)
    file.add_vocab_size(vocabulary_size)
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_block_count(config.num_hidden_layers)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_key_length(_head(config))
    file.add_value_length(_head(config))
    file.add_rope_dimension_count(_head(config))
    file.add_rope_freq_base(float(rope["rope_theta"]))
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    if rope["rope_type"] == "linear":
        file.add_rope_scaling_type(RopeScalingType.LINEAR)
        file.add_rope_scaling_factor(float(rope["factor"]))


def language_entries(model: PreTrainedModel, state: Mapping[str, Tensor]) -> Iterator[GgufTensor]:
    """The tensors of `state`, which has transformers' names (`model.layers...`, `lm_head.weight`)."""
    config = model.config
    arch = ARCHITECTURES[config.model_type]
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        ours = names.get_name(name, SUFFIXES)
        if ours is None:
            raise ConfigError(f"--to gguf: llama.cpp's {MODEL_ARCH_NAMES[arch]} has no tensor for {name}. Use --to hf")
        rotated = arch == MODEL_ARCH.LLAMA and (".q_proj." in name or ".k_proj." in name)
        yield GgufTensor(ours, tensor, change=partial(_interleaved, head=_head(config)) if rotated else None)
    if _rope(config)["rope_type"] == "llama3":
        yield GgufTensor("rope_freqs.weight", _frequency_factors(model, config))


def _interleaved(tensor: Tensor, head: int) -> Tensor:
    """Reorder a head's channels: llama.cpp's Llama rotates adjacent pairs, transformers pairs half a head apart."""
    halves = tensor.reshape(-1, 2, head // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _frequency_factors(model: PreTrainedModel, config: PreTrainedConfig) -> Tensor:
    """Divisor of each rotary frequency: the default frequency over that of the model's own module."""
    found = [buffer for name, buffer in model.named_buffers() if name.endswith("rotary_emb.inv_freq")]
    head = _head(config)
    plain = float(_rope(config)["rope_theta"]) ** -(torch.arange(0, head, 2).double() / head)
    return (plain / found[0].double().cpu()).float()


def _rope(config: PreTrainedConfig) -> Mapping[str, Any]:
    """Rotary parameters with defaults."""
    return {"rope_type": "default", "rope_theta": 10000.0, **(config.rope_parameters or {})}


def _head(config: PreTrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
