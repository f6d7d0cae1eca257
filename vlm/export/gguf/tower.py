"""A vision tower and a projector as llama.cpp's `mmproj` file, in the form that its LLaVA graph reads.

SigLIP only. With a class token that graph is wrong: it puts the token behind the patches but numbers them as if it came
first, and hands the token's row to the language model in place of the first patch's (llama.cpp issue 25814).
"""

from collections.abc import Iterator
from pathlib import Path

from gguf import MODEL_ARCH, get_tensor_name_map
from torch import Tensor

from llm.errors import ConfigError
from vlm.export.gguf.file import Entry, write_tensors, writer
from vlm.model.vision_model import VisionModel
from vlm.vision.projector import activation, fold

TOWER = "vision_tower.vision_model."  # the names that the map of `gguf` knows
PLACES = {"linear_1": "mm.0", "linear_2": "mm.2"}
EXACT = ("v.patch_embd.weight", "v.position_embd.weight", "v.class_embd")
CLIP, SIGLIP = "clip_vision_model", "siglip_vision_model"
GELUS = {"gelu_pytorch_tanh": True, "gelu": True, "gelu_new": True, "quick_gelu": False}


def check_tower(vision: VisionModel, force: bool) -> None:
    """Raise ConfigError with the reason when llama.cpp cannot see through this tower. `force` lets CLIP pass."""
    kind = vision.vision.kind
    if kind == CLIP and not force:
        raise ConfigError(
            "--to gguf: llama.cpp misreads CLIP towers: its LLaVA graph shifts the patches' positions by one and gives "
            "the class token to the language model as a patch (llama.cpp issue 25814). Train with a SigLIP tower, use "
            "--to hf, or write the file all the same with --force, for a llama.cpp that is mended"
        )
    if kind not in (CLIP, SIGLIP):
        raise ConfigError(f"--to gguf: llama.cpp's LLaVA reads SigLIP towers; this is {kind}. Use --to hf")
    if vision.unexportable:
        raise ConfigError(f"--to gguf: llama.cpp's LLaVA cannot express this model: {vision.unexportable}")
    if activation(vision.config) != "gelu":
        raise ConfigError("--to gguf: llama.cpp's LLaVA projector has two linears with GELU; this has one. Use --to hf")
    if vision.tower.config.hidden_act not in GELUS:
        raise ConfigError(f"--to gguf: llama.cpp's towers have no {vision.tower.config.hidden_act}. Use --to hf")


def blocks_before(layer: int, count: int) -> int:
    """How many of `count` blocks make the hidden states that transformers numbers `layer`: 0 is the embeddings."""
    return layer if layer >= 0 else count + 1 + layer


def write_tower(vision: VisionModel, file: Path, name: str, dtype: str) -> None:
    """Write the blocks up to the layer that is read, and the projector with its statistics folded in."""
    tower, config = vision.vision, vision.tower.config
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
        out.add_array("clip.vision.feature_layer", [blocks])  # else llama.cpp leaves the last block out
        entries = [*_tower_entries(vision, blocks), *_projector_entries(vision)]
        write_tensors(out, entries, dtype)


def _tower_entries(vision: VisionModel, blocks: int) -> Iterator[Entry]:
    names = get_tensor_name_map(MODEL_ARCH.MMPROJ, blocks)
    for name, tensor in vision.tower.state_dict().items():
        ours = names.get_name(TOWER + name.removeprefix("vision_model."), (".weight", ".bias"))
        if ours is None or ours.startswith("v.post_ln"):  # blocks that nobody reads, and what stands behind them
            continue
        yield Entry(ours, _shaped(ours, tensor), ours in EXACT)


def _projector_entries(vision: VisionModel) -> Iterator[Entry]:
    for name, tensor in fold(vision.projector).items():
        layer, _, part = name.partition(".")
        yield Entry(f"{PLACES[layer]}.{part}", tensor)


def _shaped(name: str, tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1) if name == "v.class_embd" else tensor
