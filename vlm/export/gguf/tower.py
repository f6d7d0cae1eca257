"""Writes a vision tower and a projector to llama.cpp's `mmproj` file for its LLaVA graph.

SigLIP only. With a class token that graph is wrong: it places the token after the patches but numbers positions as if
it came first, and passes the token to the language model instead of the first patch (llama.cpp issue 25814).
"""

from collections.abc import Iterator
from pathlib import Path

from gguf import MODEL_ARCH, get_tensor_name_map
from torch import Tensor

from llm.errors import ConfigError
from vlm.export.gguf.file import GgufTensor, write_tensors, writer
from vlm.model.vision_model import VisionModel
from vlm.vision.projector import activation, fold_statistics

TOWER = "vision_tower.vision_model."  # the names that the map of `gguf` knows
PROJECTOR_NAMES = {"linear_1": "mm.0", "linear_2": "mm.2"}
EXACT = ("v.patch_embd.weight", "v.position_embd.weight", "v.class_embd")
CLIP, SIGLIP = "clip_vision_model", "siglip_vision_model"
GELUS = {"gelu_pytorch_tanh": True, "gelu": True, "gelu_new": True, "quick_gelu": False}


def check_tower(vision: VisionModel, force: bool) -> None:
    """Raise ConfigError with the reason when llama.cpp does not support this tower. `force` allows CLIP."""
    kind = vision.tower.kind
    if kind == CLIP and not force:
        raise ConfigError(
            "--to gguf: llama.cpp misreads CLIP towers: its LLaVA graph shifts the patches' positions by one and gives "
            "the class token to the language model as a patch (llama.cpp issue 25814). Train with a SigLIP tower, use "
            "--to hf, or write the file anyway with --force, for a llama.cpp with a fix"
        )
    if kind not in (CLIP, SIGLIP):
        raise ConfigError(f"--to gguf: llama.cpp's LLaVA reads SigLIP towers; this is {kind}. Use --to hf")
    if vision.tower.tiling is not None:
        raise ConfigError("--to gguf: tiles (model.image_mode: anyres) are not written for llama.cpp. Use --to hf")
    if vision.export_obstacle:
        raise ConfigError(f"--to gguf: llama.cpp's LLaVA does not support this model: {vision.export_obstacle}")
    if activation(vision.config) != "gelu":
        raise ConfigError("--to gguf: llama.cpp's LLaVA projector has two linears with GELU; this has one. Use --to hf")
    if vision.tower.module.config.hidden_act not in GELUS:
        raise ConfigError(f"--to gguf: llama.cpp's towers have no {vision.tower.module.config.hidden_act}. Use --to hf")


def blocks_before(layer: int, count: int) -> int:
    """Number of blocks, of `count`, before hidden state `layer` in transformers' numbering; 0 is the embeddings."""
    return layer if layer >= 0 else count + 1 + layer


def write_tower(vision: VisionModel, file: Path, name: str, dtype: str) -> None:
    """Write the blocks up to the projected layer, and the projector with its statistics folded in."""
    tower, config = vision.tower, vision.tower.module.config
    blocks = blocks_before(tower.layer, config.num_hidden_layers)
    with writer(file, "clip") as out:
        out.add_name(name)
        out.add_clip_has_vision_encoder(True)
        out.add_clip_projector_type("mlp")
        out.add_vision_use_gelu(GELUS[config.hidden_act])
        out.add_vision_image_size(tower.preprocess.size)
        out.add_vision_patch_size(config.patch_size)
        out.add_vision_embedding_length(config.hidden_size)
        out.add_vision_feed_forward_length(config.intermediate_size)
        out.add_vision_projection_dim(vision.projector.hidden)
        out.add_vision_block_count(blocks)
        out.add_vision_head_count(config.num_attention_heads)
        out.add_vision_attention_layernorm_eps(config.layer_norm_eps)
        out.add_vision_image_mean(list(tower.preprocess.mean))
        out.add_vision_image_std(list(tower.preprocess.std))
        out.add_array("clip.vision.feature_layer", [blocks])  # otherwise llama.cpp omits the last block
        entries = [*_tower_entries(vision, blocks), *_projector_entries(vision)]
        write_tensors(out, entries, dtype)


def _tower_entries(vision: VisionModel, blocks: int) -> Iterator[GgufTensor]:
    names = get_tensor_name_map(MODEL_ARCH.MMPROJ, blocks)
    for name, tensor in vision.tower.module.state_dict().items():
        ours = names.get_name(TOWER + name.removeprefix("vision_model."), (".weight", ".bias"))
        if ours is None or ours.startswith("v.post_ln"):  # blocks after the projected layer, and the norm after them
            continue
        yield GgufTensor(ours, _shaped(ours, tensor), ours in EXACT)


def _projector_entries(vision: VisionModel) -> Iterator[GgufTensor]:
    for name, tensor in fold_statistics(vision.projector).items():
        layer, _, part = name.partition(".")
        yield GgufTensor(f"{PROJECTOR_NAMES[layer]}.{part}", tensor)


def _shaped(name: str, tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1) if name == "v.class_embd" else tensor
