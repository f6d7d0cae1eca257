"""Packs without an image: which parts of the model run for them, with and without ZeRO."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llm.encoding.encoder import IGNORED, Sample
from tests.vlm.runs import recipe
from vlm.model.batch import VlmBatch, collate_vlm
from vlm.model.forward import VlmModel
from vlm.model.runs import open_model

TEXT = Sample(np.array([5, 6, 7], np.int32), np.array([IGNORED, 7, IGNORED], np.int32))


@pytest.fixture(scope="module")
def model(roomy_llm: Path, clip: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> VlmModel:
    out = tmp_path_factory.mktemp("run")
    opened = open_model(recipe(roomy_llm, clip, records, out, "finetune", tune={"kind": "lora", "rank": 2}))
    assert isinstance(opened.model, VlmModel)
    return opened.model


class Seen:
    """The calls of the tower and of the projector."""

    def __init__(self, model: VlmModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tower: list[tuple[int, ...]] = []
        self.projector: list[tuple[int, ...]] = []
        features, embed = model.vision.features, model.vision.embed_images

        def tower(pixels: Tensor) -> Tensor:
            self.tower.append(tuple(pixels.shape))
            return features(pixels)

        def projector(rows: Tensor) -> Tensor:
            self.projector.append(tuple(rows.shape))
            return embed(rows)

        monkeypatch.setattr(model.vision, "features", tower)
        monkeypatch.setattr(model.vision, "embed_images", projector)


def batch_of(model: VlmModel) -> VlmBatch:
    vision = model.vision
    return collate_vlm([TEXT], vision.preprocess, vision.image_id, vision.image_tokens)


@pytest.mark.parametrize(
    ("together", "store", "tower"),
    [(False, None, []), (False, "kept", []), (True, "kept", []), (True, None, [(1, 3, 32, 32)])],
)
def test_a_pack_of_text_has_a_gradient_of_zero_everywhere(
    model: VlmModel, monkeypatch: pytest.MonkeyPatch, together: bool, store: Any, tower: list[tuple[int, ...]]
) -> None:
    """The tower runs for it only if all processes run it in every step."""
    monkeypatch.setattr(model, "lockstep", together)
    monkeypatch.setattr(model, "feature_cache", store)
    seen = Seen(model, monkeypatch)
    batch = batch_of(model)
    model.zero_grad()
    model(batch).backward()
    assert seen.tower == tower and seen.projector == [(1, 16, 32)]
    gradients = [parameter.grad for parameter in model.vision.projector.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    tokens = model.vision.embed_tokens(torch.tensor([5, 6, 7]))
    assert torch.equal(model.embed(batch), tokens)


@pytest.mark.parametrize("together", [False, True])
def test_without_gradients_the_projector_runs_only_in_lockstep(
    model: VlmModel, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(model, "lockstep", together)
    seen = Seen(model, monkeypatch)
    with torch.no_grad():
        model.embed(batch_of(model))
    assert len(seen.projector) == together
