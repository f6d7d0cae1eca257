"""The weights that all contenders train: the parts of our recipe, and the same model as one Hugging Face folder."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from benchmarks.work import ASSETS, Work
from llm.encoding.chat_template import load_template
from llm.model.hf_export import export_llm
from llm.model.pretrained import load_llm, load_tokenizer
from vlm.config import VlmModelConfig
from vlm.export.hf import export_vlm
from vlm.model.vision_model import build_vlm

TOWERS = ("vit", "lite0")
# A CLIP-like ViT of 22 million parameters, 49 patches of 32 pixels and a class token; its weights are random.
VIT: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
SIZES = {"vit": 224, "lite0": 224}


def make_folder(work: Work, tower: str, folder: Path) -> dict[str, Any]:
    """Build the weights of a work, unless they exist; returns the keys of a spec that name them."""
    llm = str(ASSETS / "smollm2")
    tokenizer = load_tokenizer(llm)
    jinja = load_template("chatml", tokenizer).jinja
    if work.stage == "sft":
        target = folder / "hf-text"
        if not target.exists():
            export_llm(load_llm(llm, torch.float32), tokenizer, jinja, target, torch.float32)
        return {"folder": str(target)}
    spec = str(ASSETS / "lite0") if tower == "lite0" else str(_vit(folder / "vit"))
    target = folder / f"hf-{tower}"
    if not target.exists():
        torch.manual_seed(0)
        config = VlmModelConfig(llm=llm, tower=spec, image_mode="resize", image_size=SIZES[tower])
        vision = build_vlm(config, torch.float32)
        vision.standardise(torch.rand(16, 3, SIZES[tower], SIZES[tower]))  # as a run does before its first step
        export_vlm(vision, vision.tokenizer, jinja, target, torch.float32)
    return {"folder": str(target), "tower": spec, "image_size": SIZES[tower]}


def _vit(folder: Path) -> Path:
    if not folder.exists():
        torch.manual_seed(0)
        CLIPVisionModel(CLIPVisionConfig(**VIT, image_size=224, patch_size=32)).save_pretrained(folder)
        side = {"height": 224, "width": 224}
        CLIPImageProcessor(size=side, crop_size=side).save_pretrained(folder)
    return folder
