"""Activation checkpointing of a tower that trains: equal gradients, fewer saved values."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llm.config.schema import ParallelConfig
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.build_model import build_vision_model
from vlm.model.stages import recompute_vision

TUNES: dict[str, dict[str, Any]] = {
    "full": {"kind": "lora", "tower": "full"},
    "lora": {"kind": "lora", "tower": "lora", "tower_rank": 2, "tower_dropout": 0.3},
}


def step(config: VlmRunConfig, counted: bool = True) -> tuple[dict[str, Tensor], int]:
    """The gradients of the tower's parameters, and the number of values that its forward pass saved, if `counted`."""
    torch.manual_seed(0)
    model, groups = build_vision_model(config)
    recompute_vision(model.vision, config)
    model.train()
    side, saved = model.vision.preprocess.size, []

    def save(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor) if counted else nullcontext():
        features = model.vision.features(torch.randn(2, 3, side, side))
    features.square().sum().backward()
    tower = next(group for group in groups if group.name == "tower")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(one)]: one.grad for one in tower.parameters if one.grad is not None}, sum(saved)


@pytest.mark.parametrize("zero", [0, 3])
@pytest.mark.parametrize("tune", sorted(TUNES))
@pytest.mark.parametrize("kind", ["clip", "dinov2", "siglip", "vit"])
def test_gradients_do_not_change(
    kind: str, tune: str, zero: int, tiny_llm: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Under ZeRO-3, with the reentrant implementation, too: frozen embeddings must not cut off a LoRA's gradients."""
    tower = request.getfixturevalue(kind)
    plain = recipe(tiny_llm, tower, tmp_path / "x.json", tmp_path, "finetune", tune=TUNES[tune])
    changes: dict[str, Any] = {"tune": TUNES[tune], "train": {"recompute": True}}
    again = recipe(tiny_llm, tower, tmp_path / "x.json", tmp_path, "finetune", **changes)
    expected, most = step(plain)
    found, few = step(again.model_copy(update={"parallel": ParallelConfig.model_construct(zero=zero)}))
    assert expected.keys() == found.keys() and len(expected) > 5
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert few < most / 2


def test_selective_saves_products_of_the_tower(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"tune": TUNES["lora"], "train": {"recompute": "selective"}}
    plain = recipe(tiny_llm, clip, tmp_path / "x.json", tmp_path, "finetune", tune=TUNES["lora"])
    expected, _ = step(plain)
    found, _ = step(recipe(tiny_llm, clip, tmp_path / "x.json", tmp_path, "finetune", **changes), counted=False)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_frozen_tower_and_a_cnn_are_left_alone(tiny_llm: Path, clip: Path, cnn: Path, tmp_path: Path) -> None:
    train = {"recompute": True}
    frozen = recipe(tiny_llm, clip, tmp_path / "x.json", tmp_path, "pretrain", train=train)
    model, _ = build_vision_model(frozen)
    recompute_vision(model.vision, frozen)
    layers = [layer for layer in model.vision.tower.module.modules() if hasattr(layer, "gradient_checkpointing")]
    assert layers and not any(layer.gradient_checkpointing for layer in layers)
    trained = recipe(tiny_llm, cnn, tmp_path / "x.json", tmp_path, "finetune", tune=TUNES["full"], train=train)
    assert len(step(trained)[0]) > 5
