"""The `config.json` of the models that recipes name, rebuilt from their published numbers: forecasts need no more.

Sources: Qwen2.5 technical report (arXiv 2412.15115, table 1), InternLM2 (arXiv 2403.17297, table 3), LLaMA (arXiv
2302.13971, table 2), CLIP (arXiv 2103.00020, table 19) and the models' cards.
"""

import json
from pathlib import Path
from typing import Any

Config = dict[str, Any]


def _qwen(hidden: int, inner: int, heads: int, groups: int, vocabulary: int, tied: bool) -> Config:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 28,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
    }


_QWEN_SMALL = _qwen(1536, 8960, 12, 2, 151_936, tied=True)
_INTERNLM: Config = {
    "architectures": ["InternLM2ForCausalLM"],
    "model_type": "internlm2",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 92_544,
    "tie_word_embeddings": False,
    "bias": False,
    "hidden_act": "silu",
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
}
_VICUNA: Config = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32_000,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}
_CLIP: Config = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 49_408},
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
    },
}
PUBLISHED: dict[str, Config] = {
    "Qwen/Qwen2.5-1.5B": _QWEN_SMALL,
    "Qwen/Qwen2.5-1.5B-Instruct": _QWEN_SMALL,
    "Qwen/Qwen2.5-7B-Instruct": _qwen(3584, 18_944, 28, 4, 152_064, tied=False),
    "internlm/internlm2-1_8b": _INTERNLM,
    "internlm/internlm2-chat-1_8b": _INTERNLM,
    "lmsys/vicuna-7b-v1.5": _VICUNA,
    "openai/clip-vit-large-patch14-336": _CLIP,
}


def write_config(folder: Path, name: str, layers: int) -> str:
    """A folder with the config of `name`, cut to `layers` layers; returns its path."""
    config = json.loads(json.dumps(PUBLISHED[name]))
    (config.get("vision_config") or config)["num_hidden_layers"] = layers
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def layers_of(name: str) -> int:
    """The layers of the published model."""
    config = PUBLISHED[name]
    return int((config.get("vision_config") or config)["num_hidden_layers"])
