"""open_clip's OpenAI-style ViTs as `CLIPVisionModel`, by an exact remap of names: in_proj is q, k and v in that order.

Forms: `NAME@/path/file.safetensors` (NAME is one of open_clip's model configs) and a local folder or hub id with
`open_clip_config.json` and `open_clip_model.safetensors`, as open_clip publishes them.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from llm.errors import ModelError
from llm.files.untrusted_json import read_object
from llm.model.model_folder import local_folder
from vlm.vision.images import Preprocess
from vlm.vision.square_resize import RESAMPLE

PREFIX = "visual."
CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
# After the hidden states: what pools them into one contrastive vector.
UNUSED = ("proj", "attn_pool.", "attn_pool_contrastive.", "ln_post.")
# open_clip options that change the hidden states in ways that CLIPVisionModel does not support.
UNSUPPORTED = (
    "ls_init_value",
    "no_ln_pre",
    "act_kwargs",
    "block_type",
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)
RENAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
}
LAYER_RENAMES = {
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
    "attn.out_proj.": "self_attn.out_proj.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
}
LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")


def load_open_clip(name: str, weights: bool = True) -> tuple[CLIPVisionModel, Preprocess]:
    """The tower in fp32, without `weights` its shape alone, and its preprocessing. Raises ModelError."""
    config, pixels, file = _find(name, (CONFIG, WEIGHTS) if weights else (CONFIG,))
    vision = _vision_config(name, config)
    module = CLIPVisionModel(vision)
    module.train(False)
    if weights:
        module.load_state_dict(_checked(name, remap(_visual(name, file)), module.state_dict()))
    mean, std = pixels.get("mean", OPENAI_CLIP_MEAN), pixels.get("std", OPENAI_CLIP_STD)
    resample = pixels.get("interpolation", "bicubic")
    if resample not in RESAMPLE:
        raise ModelError(f"tower open_clip:{name}: interpolation {resample!r} is none of {', '.join(RESAMPLE)}")
    size = vision.image_size
    assert isinstance(size, int)
    return module, Preprocess(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), resample)


def _find(name: str, files: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """open_clip's model config, its preprocessing (empty: OpenAI's) and the weights file; `files` are fetched."""
    known, _, file = name.partition("@")
    if file:
        return _known_config(known), {}, Path(file)
    if "/" not in name and not Path(name).is_dir():
        raise ModelError(
            f"tower open_clip:{name} names no weights, and random ones see nothing. "
            f"Write open_clip:{name}@/path/to/{WEIGHTS}"
        )
    folder = local_folder(name, files)
    if not (folder / CONFIG).is_file():
        raise ModelError(f"tower open_clip:{name}: {folder}/{CONFIG} is missing")
    recipe = read_object(folder / CONFIG)
    return recipe["model_cfg"], recipe.get("preprocess_cfg", {}), folder / WEIGHTS


def remap(visual: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights under `visual.` to CLIPVisionModel's names; unknown names are left for the caller to refuse."""
    state: dict[str, Tensor] = {}
    for name, tensor in visual.items():
        layer = LAYER.fullmatch(name)
        if layer is None:
            state[_renamed(name, RENAMES)] = tensor
            continue
        target, rest = f"encoder.layers.{layer[1]}.", layer[2]
        if rest.startswith("attn.in_proj_"):
            kind = rest.removeprefix("attn.in_proj_")
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                state[f"{target}self_attn.{part}_proj.{kind}"] = piece.clone()
        else:
            state[target + _renamed(rest, LAYER_RENAMES)] = tensor
    return state


def _renamed(name: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name.removeprefix(old)
    return name


def _known_config(name: str) -> dict[str, Any]:
    """open_clip's own config of a model name."""
    try:
        import open_clip
    except ImportError as error:
        raise ModelError(
            f"tower open_clip:{name} needs open_clip. Install it with: pip install 'eyegraft[towers]'"
        ) from error
    if name not in open_clip.list_models():
        raise ModelError(f"tower open_clip:{name}: open_clip knows no model of this name. See open_clip.list_models()")
    return dict(open_clip.get_model_config(name))


def _vision_config(name: str, config: dict[str, Any]) -> CLIPVisionConfig:
    """The network as a CLIPVisionConfig. Raises ModelError for one that CLIPVisionModel does not support."""
    cfg = config["vision_cfg"]
    if cfg.get("timm_model_name"):
        raise ModelError(
            f"tower open_clip:{name} is timm's {cfg['timm_model_name']}. Name it timm:{cfg['timm_model_name']} "
            "if it is a CNN; for a ViT take the Hugging Face folder of the same tower"
        )
    foreign = [key for key in UNSUPPORTED if cfg.get(key)]
    if isinstance(cfg["layers"], list) or foreign:
        found = ", ".join(foreign) or "a ResNet"
        raise ModelError(
            f"tower open_clip:{name} has {found}, which CLIPVisionModel does not support. Take another tower"
        )
    width = int(cfg["width"])
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=int(width * cfg.get("mlp_ratio", 4.0)),
        num_hidden_layers=cfg["layers"],
        num_attention_heads=width // cfg.get("head_width", 64),
        image_size=cfg.get("image_size", 224),
        patch_size=cfg.get("patch_size", 16),
        hidden_act="quick_gelu" if config.get("quick_gelu") else "gelu",
        layer_norm_eps=(cfg.get("norm_kwargs") or {}).get("eps", 1e-5),
    )


def _visual(name: str, weights: Path) -> dict[str, Tensor]:
    """The checkpoint's vision weights in fp32, names without their prefix."""
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise ModelError(f"tower open_clip:{name}: {weights} is no safetensors file. Give open_clip's {WEIGHTS}")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise ModelError(f"{weights}: broken ({error}). Fetch it again") from error
    visual = {key.removeprefix(PREFIX): value.float() for key, value in state.items() if key.startswith(PREFIX)}
    if not visual or any(key.startswith("trunk.") for key in visual):
        found = (
            "holds timm's network (visual.trunk): name the tower timm:..." if visual else "holds no visual.* weights"
        )
        raise ModelError(f"tower open_clip:{name}: {weights} {found}")
    return visual


def _checked(name: str, state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` without weights that hidden states do not depend on. ModelError if the rest is not exactly `expected`."""
    extra = [key for key in state if key not in expected and not key.startswith(UNUSED)]
    own = {key: state[key] for key in expected if key in state}
    for key, tensor in expected.items():
        # The last norm comes after all hidden states; pooled variants give it another width.
        if key.startswith("post_layernorm.") and (key not in own or own[key].shape != tensor.shape):
            own[key] = torch.ones_like(tensor) if key.endswith("weight") else torch.zeros_like(tensor)
    wrong = [key for key in expected if key not in own or own[key].shape != expected[key].shape]
    if extra or wrong:
        raise ModelError(
            f"tower open_clip:{name}: the weights do not fit its config: {', '.join((wrong + extra)[:4])}. "
            "Check that name and file belong together"
        )
    return own
