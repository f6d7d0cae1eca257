"""Activation checkpointing: equal loss and gradients; `selective` recomputes cheap operations only."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy
from transformers import LlamaConfig, LlamaForCausalLM

from llm.attention.interface import use_packed_attention
from llm.config.schema import ParallelConfig, TextRunConfig
from llm.data.batch import PackedBatch, collate
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ConfigError
from llm.forward.text_model import TextModel
from llm.model.activation_checkpointing import NARROW, recompute, selective_policy
from llm.model.lora import apply_tuning
from vlm.config import load_config

WIDE = 320
ADAPTER = {"kind": "lora", "rank": 4, "alpha": 8}


class Calls(TorchDispatchMode):
    """Counts operations by name; `wide` are products over more than an adapter's rank."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.__name__.split(".")[0]
        self.of["wide" if name in ("mm", "addmm") and args[-1].shape[0] > NARROW else name] += 1
        return operation(*args, **(kwargs or {}))


def settings(how: bool | str) -> TextRunConfig:
    return TextRunConfig.model_validate(
        {"name": "x", "model": {"llm": "x"}, "data": {"sources": [{"path": "x"}]}}
        | {"tune": ADAPTER, "train": {"recompute": how}}
    )


def batch() -> PackedBatch:
    random = np.random.default_rng(0)
    samples = []
    for length in (40, 25, 31):
        labels = random.integers(0, 90, length).astype(np.int32)
        labels[: length // 2] = IGNORED
        samples.append(Sample(random.integers(0, 90, length).astype(np.int32), labels, ()))
    return collate(samples)


def step(how: bool | str) -> tuple[float, list[torch.Tensor], Counter[str]]:
    """Loss, gradients and what was computed in one forward and backward pass of two layers."""
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDE, "intermediate_size": 2 * WIDE, "num_hidden_layers": 2, "num_attention_heads": 4}
    llm = LlamaForCausalLM(LlamaConfig(vocab_size=100, num_key_value_heads=2, **sizes))
    config = settings(how)
    parameters = apply_tuning(llm, config.tune)
    use_packed_attention(llm)
    recompute(llm, config)
    model = TextModel(llm).train()
    with Calls() as calls:
        loss = model(batch())
        loss.backward()
    return float(loss.detach()), [parameter.grad for parameter in parameters if parameter.grad is not None], calls.of


@pytest.mark.parametrize("how", ["selective", True])
def test_loss_and_gradients_do_not_change(how: bool | str) -> None:
    loss, gradients, _ = step(False)
    again, others, _ = step(how)
    assert again == loss
    assert len(gradients) == len(others) > 10
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))


def test_selective_recomputes_cheap_operations_and_no_wide_product() -> None:
    kept, selective, full = (step(how)[2] for how in (False, "selective", True))
    assert selective["silu"] == full["silu"] == 2 * kept["silu"] == 4
    assert selective["wide"] <= kept["wide"] + 1, "28 products of two layers, LoRA's way down among them, are kept"
    assert full["wide"] >= kept["wide"] + 28
    assert selective["mm"] > kept["mm"], "adapters are repeated"


def test_narrow_products_are_recomputed_and_wide_ones_saved() -> None:
    """By the number of terms of the sum: the rows of the right-hand matrix."""
    save, repeat = CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_RECOMPUTE
    for inner, expected in ((NARROW, repeat), (NARROW + 1, save)):
        left, right, bias = torch.zeros(2, inner), torch.zeros(inner, 3), torch.zeros(3)
        assert selective_policy(None, torch.ops.aten.mm.default, left, right) == expected
        assert selective_policy(None, torch.ops.aten.addmm.default, bias, left, right) == expected
    assert selective_policy(None, torch.ops.aten.silu.default, torch.zeros(NARROW + 1, 2)) == repeat
    assert selective_policy(None, torch.ops.aten._scaled_dot_product_flash_attention.default, torch.zeros(2)) == save


def test_the_inputs_of_frozen_layers_require_a_gradient() -> None:
    """Otherwise ZeRO-3's reentrant layers have no backward pass."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    llm = LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).requires_grad_(False)
    assert not llm.get_input_embeddings()(torch.tensor([[1]])).requires_grad
    recompute(llm, settings(True).model_copy(update={"parallel": ParallelConfig(zero=3)}))
    assert llm.get_input_embeddings()(torch.tensor([[1]])).requires_grad


def test_zero3_refuses_selective(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("name: x\nmodel: {llm: x}\ndata: {sources: [{path: x}]}\nparallel: zero3\n")
    load_config(file, ["train.recompute=true"])
    with pytest.raises(ConfigError, match="use train.recompute: true"):
        load_config(file, ["train.recompute=selective"])
