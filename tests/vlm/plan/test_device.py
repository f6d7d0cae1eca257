"""All tensors of a step move to the GPU, checked without one: fake tensors have a device and no memory."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from llm.train.run_data import read_run_data, training_loader
from tests.vlm.runs import recipe
from vlm.model.feature_cache import fill_cache
from vlm.model.forward import VlmModel
from vlm.model.runs import open_model, parts_of

CARD = torch.device("cuda", 0)


def to_fake(value: Any, mode: FakeTensorMode) -> Any:
    """`value`, a batch or part of one, with its tensors replaced by fake tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return mode.from_tensor(value)
    if isinstance(value, tuple):
        return tuple(to_fake(item, mode) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: to_fake(getattr(value, field.name), mode) for field in fields(value)})
    return value


def move(model: nn.Module, mode: FakeTensorMode) -> None:
    """Replace a model's tensors by fake copies on the card."""
    for module in model.modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                moved = mode.from_tensor(tensor).detach().to(CARD)
                module._parameters[name] = nn.Parameter(moved, tensor.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer).to(CARD)


@pytest.mark.parametrize("cached", [False, True])
def test_a_batch_on_a_card_meets_no_tensor_on_the_cpu(
    tiny_llm: Path, clip: Path, records: Path, tmp_path: Path, cached: bool
) -> None:
    keys = {"turns": "apart", "cache_features": "on" if cached else "off"}
    config = recipe(tiny_llm, clip, records, tmp_path / "run", "finetune", data=keys)
    opened = open_model(config)
    parts = parts_of(opened)
    data = read_run_data(config, parts, tmp_path, Path.cwd())
    parts.ready(data.train, tmp_path / "run")
    assert isinstance(opened.model, VlmModel)
    if opened.model.feature_cache is not None:
        assert fill_cache(opened.model.feature_cache, opened.model.vision, list(data.train.every_image()))
    batches = [batch for step in training_loader(parts, data).steps(0) for batch in step.batches]
    assert any(group.keys > group.queries for batch in batches for group in batch.text.attention.groups), (
        "a shared prefix"
    )
    assert any(len(batch.cached_features) for batch in batches) == cached
    with FakeTensorMode() as mode:
        move(opened.model, mode)
        for batch in batches[:4]:
            fake = to_fake(batch, mode)
            assert opened.model(fake.to(CARD)).device == CARD
        with pytest.raises(RuntimeError, match="device"):  # the control: fake tensors detect mixed devices
            opened.model(fake)
