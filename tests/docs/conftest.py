"""The folder in which a page's commands run: the quickstart's assets and recipes, the assets tiny ones."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from data_tools.quickstart.easy_vqa import build_easy_vqa
from tests.docs.blocks import ROOT
from tests.vlm.conftest import CNN, randomise, save_llm

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30), "gray": (128, 128, 128)}


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `eyegraft assets` fetches, in its places: an LLM of width 32, timm's smallest network, sixteen images."""
    folder = tmp_path_factory.mktemp("docs") / "assets"
    folder.mkdir()
    save_llm(folder / "smollm2", 260, tied=True)
    _save_tower(folder / "lite0")
    build_easy_vqa(_wheel(folder.parent / "wheel"), folder / "easy_vqa")
    return folder


def _save_tower(folder: Path) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model(CNN, pretrained=False, num_classes=5)
    randomise(network)
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {"architecture": CNN, "image_size": 64, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    (folder / "config.json").write_text(json.dumps(config))


def _wheel(folder: Path) -> Path:
    """A wheel of easy-VQA with plain-coloured images, three questions each."""
    names = [*COLOURS]
    for split, count in (("train", 16), ("test", 8)):
        images = folder / "easy_vqa/data" / split / "images"
        images.mkdir(parents=True)
        rows: list[list[object]] = []
        for number in range(count):
            name, other = names[number % 4], names[(number + 1) % 4]
            Image.new("RGB", (64, 64), COLOURS[name]).save(images / f"{number}.png")
            rows.append(["what color is the shape?", name, number])
            rows += [
                [f"is there a {asked} shape?", "yes" if asked == name else "no", number] for asked in (name, other)
            ]
        (images.parent / "questions.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def clone(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as after `git clone` and `eyegraft assets`, the current one."""
    (tmp_path / "assets").symlink_to(assets)
    shutil.copytree(ROOT / "configs", tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
