"""What the soak trains: tiny random models, small data and one recipe for each of three kinds of run.

Every run has 24 steps of two or more packs, two epochs, dropout where the kind has a place for it, validation, and
checkpoints at every third step.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from llm.config.schema import RunConfig, TextRunConfig
from llm.config.yaml_loader import resolve_yaml
from tests.llm.conftest import save_llama
from tests.vlm.conftest import TEXT, VISION, randomise, save_llm
from vlm.config import VlmRunConfig

KINDS = ("pretrain", "finetune", "sft")
STEPS = 24
RECORDS = 53  # about 5 are for validation
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.1}
TRAIN: dict[str, Any] = {
    "epochs": 4,
    "max_steps": STEPS,
    "batch": 4,
    "dtype": "fp32",
    "log_every": 1,
    "save_every": 3,
    "validate_every": 5,
    "keep": 2,
}


def make_models(root: Path) -> None:
    """An LLM with spare embedding rows, a CLIP tower, a text LLM, images, and both data files."""
    save_llm(root / "llm", 260, tied=True)
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT))
    randomise(clip)
    clip.save_pretrained(root / "clip")
    CLIPImageProcessor(crop_size={"height": 32, "width": 32}).save_pretrained(root / "clip")
    save_llama(root / "llama")
    _write_pictures(root)
    _write_chats(root)


def _write_pictures(root: Path) -> None:
    """One or two questions about each image; some records without an image."""
    draw, rows = np.random.default_rng(0), []
    for index in range(RECORDS):
        name = f"{index % 37}.png"
        Image.fromarray(np.tile(draw.integers(0, 255, 3).astype(np.uint8), (40, 48, 1))).save(root / name)
        turns = [f"what is it{'?' * (index % 5)}", f"thing {index}"]
        row: dict[str, Any] = {"id": str(index)}
        if index % 9:
            row["image"], turns[0] = name, f"<image>\n{turns[0]}"
        row["conversations"] = [{"from": who, "value": text} for who, text in zip(("human", "gpt"), turns, strict=True)]
        rows.append(row)
    (root / "pictures.json").write_text(json.dumps(rows), encoding="utf-8")


def _write_chats(root: Path) -> None:
    asked = [f"What is {'very ' * (index % 4)}{index}?" for index in range(RECORDS)]
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"the fox {index}"}]}
        for index, text in enumerate(asked)
    ]
    (root / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def config_of(kind: str, root: Path, out: Path) -> RunConfig:
    """The recipe of a run in `out`; stage 2 starts from `root/reference-pretrain/run`."""
    vision = kind != "sft"
    data = {"sources": [{"path": str(root / ("pictures.json" if vision else "chats.jsonl"))}], "template": "chatml"}
    values: dict[str, Any] = {
        "name": kind,
        "out": str(out),
        "stage": kind,
        "data": {**data, "max_length": 200, "validation": 0.1},
        "optim": {"lr": 1e-3},
        "train": TRAIN | {"pack_tokens": 130 if vision else 70},
    }
    if not vision:
        return TextRunConfig.model_validate(values | {"model": {"llm": str(root / "llama")}, "tune": LORA})
    values["model"] = {"llm": str(root / "llm"), "tower": str(root / "clip")}
    if kind == "finetune":
        values |= {"tune": LORA, "from": str(root / "reference-pretrain" / "run")}
    return VlmRunConfig.model_validate(values)


def write_recipe(kind: str, root: Path, folder: Path) -> Path:
    """The recipe as a file in `folder`, for a run in `folder/run`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(resolve_yaml(config_of(kind, root, folder / "run")), encoding="utf-8")
    return path
