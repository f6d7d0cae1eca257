"""Export of the projector to `mm_projector.bin`, the file of the original LLaVA project, with its config."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llm.errors import ConfigError, ModelError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.model.hf_export import LIMIT, proving, write_and_prove
from vlm.config import VlmRunConfig
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun
from vlm.model.vision_model import VisionModel
from vlm.vision.projector import fold_statistics

FILE = "mm_projector.bin"
PREFIX = "model.mm_projector."
TOWERS = {"clip_vision_model"}  # what LLaVA's `multimodal_encoder/builder.py` builds


def export_llava(opened: OpenedRun, out: Path, origin: Origin = UNNAMED) -> float:
    """Write `mm_projector.bin` (LLaVA's `--pretrain_mm_mlp_adapter`) and `config.json`.

    Returns the largest difference of image embeddings between the file, read back into LLaVA's own layers, and our
    projector. Raises ConfigError for a model that LLaVA's code cannot build: a text model, another tower than CLIP,
    pooled features.
    """
    if not isinstance(opened.model, VlmModel) or not isinstance(opened.config, VlmRunConfig):
        raise ConfigError("--to llava: this is a text run; it has no projector")
    vision = opened.model.vision
    if vision.tower.kind not in TOWERS:
        raise ConfigError(f"--to llava: LLaVA's code supports CLIP towers only, this is {vision.tower.kind}. Use hf")
    if vision.tower.tiling is not None:
        raise ConfigError("--to llava: the newline row of model.image_mode: anyres has no place in the file. Use hf")
    if vision.export_obstacle:
        raise ConfigError(f"--to llava: LLaVA's code does not support this model: {vision.export_obstacle}")
    config = llava_config(opened.config, vision)

    def write(folder: Path) -> None:
        content = BytesIO()  # torch's own writer does not report a full disk
        torch.save(llava_state(vision, config["mm_projector_type"]), content)
        (folder / FILE).write_bytes(content.getbuffer())
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    return write_and_prove(out, write, lambda folder: _prove(vision, folder), origin)


def llava_state(vision: VisionModel, kind: str) -> dict[str, Tensor]:
    """State dict with LLaVA's names: `0` and `2` are the linears of an MLP; a single linear has no number."""
    folded = fold_statistics(vision.projector)
    if kind == "linear":
        return {f"{PREFIX}{part}": folded[f"linear_1.{part}"] for part in ("weight", "bias")}
    numbers = {"linear_1": "0", "linear_2": "2"}
    return {f"{PREFIX}{numbers[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in folded.items()}


def llava_config(config: VlmRunConfig, vision: VisionModel) -> dict[str, Any]:
    """The `config.json` that LLaVA's training writes beside the file."""
    return {
        "model_type": "llava_llama",
        "_name_or_path": config.model.llm,
        "hidden_size": vision.language_model.config.hidden_size,
        "mm_vision_tower": config.model.tower,
        "mm_hidden_size": vision.tower.hidden,
        "mm_projector_type": config.model.projector,
        "mm_vision_select_layer": config.model.tower_layer,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": config.model.image_mode if config.model.image_mode == "pad" else "square",
        "tune_mm_mlp_adapter": True,
        "use_mm_proj": True,
    }


def llava_projector(folder: Path) -> nn.Module:
    """The file loaded into the layers that LLaVA's `multimodal_projector/builder.py` builds from the config."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state = {name.removeprefix(PREFIX): tensor for name, tensor in torch.load(folder / FILE, weights_only=True).items()}
    first = nn.Linear(config["mm_hidden_size"], config["hidden_size"])
    if config["mm_projector_type"] == "linear":
        layers: nn.Module = first
    else:
        layers = nn.Sequential(first, nn.GELU(), nn.Linear(config["hidden_size"], config["hidden_size"]))
    layers.load_state_dict(state)
    return layers


@torch.no_grad()
def _prove(vision: VisionModel, folder: Path) -> float:
    size = vision.preprocess.size
    pixels = torch.rand((1, 3, size, size), generator=torch.Generator().manual_seed(0))
    with proving(vision.hf):
        features = vision.features(pixels.to(vision.hf.device))
        expected = vision.embed_images(features).cpu()
    found = llava_projector(folder)(features.float().cpu()).reshape(expected.shape)
    largest = float((found - expected).abs().max())
    if not largest <= LIMIT:
        raise ModelError(
            f"{FILE}: its output differs from the trained projector's by {largest:.2e}. Please report this"
        )
    return largest
