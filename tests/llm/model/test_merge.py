"""Merging: logits stay the same, and what is left is a plain model."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
)

from llm.model.lora import (
    apply_tuning,
    lora_layers,
)
from llm.model.merge import merge_adapters
from llm.model.pretrained import load_llm
from llm.model.quantization import is_four_bit
from tests.llm.model.adapters import LORA, logits, shake

pytestmark = pytest.mark.usefixtures("same_draws")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merging_keeps_the_logits_and_leaves_a_plain_model(
    tiny_llama: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    llm = load_llm(str(tiny_llama), dtype)
    names = [name for name, _ in llm.named_parameters()]
    apply_tuning(llm, LORA)
    shake(llm)
    layer = dict(lora_layers(llm))["model.layers.0.self_attn.q_proj"]
    up, down = layer.get_parameter("lora_B.default.weight"), layer.get_parameter("lora_A.default.weight")
    exact = layer.base_layer.weight.float() + 2 * (up.float() @ down.float())  # alpha / rank = 2
    expected = logits(llm)
    merge_adapters(llm)
    assert [name for name, _ in llm.named_parameters()] == names
    assert torch.equal(llm.get_parameter("model.layers.0.self_attn.q_proj.weight"), exact.to(dtype))  # rounded once
    found = logits(llm)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    llm.save_pretrained(tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=dtype, use_cache=False)
    assert torch.equal(logits(again), found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merging_into_four_bit_weights_makes_them_dense(tiny_llama: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """Training computed with the dequantised weights, so merged logits differ by rounding only."""
    llm = load_llm(str(tiny_llama), dtype, four_bit=True)
    apply_tuning(llm, LORA.model_copy(update={"kind": "qlora", "targets": ("q_proj", "down_proj")}))
    shake(llm)
    expected = logits(llm)
    merge_adapters(llm)
    assert {type(module) for module in llm.modules() if isinstance(module, nn.Linear)} == {nn.Linear}
    assert {parameter.dtype for parameter in llm.parameters()} == {dtype}
    found = logits(llm)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    llm.save_pretrained(tmp_path / "merged")
    assert "quantization_config" not in json.loads((tmp_path / "merged/config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=dtype, use_cache=False)
    assert torch.equal(logits(again), found)


def test_linears_without_an_adapter_can_stay_in_four_bit(tiny_llama: Path) -> None:
    llm = load_llm(str(tiny_llama), torch.bfloat16, four_bit=True)
    merge_adapters(llm, dense=False)  # a stage that trained the projector alone
    assert sum(is_four_bit(module) for module in llm.modules()) == 14
    assert llm.config.quantization_config is not None
    apply_tuning(llm, LORA.model_copy(update={"targets": ("q_proj",)}))
    merge_adapters(llm, dense=False)
    assert sum(is_four_bit(module) for module in llm.modules()) == 12
    merge_adapters(llm)
    assert not any(is_four_bit(module) for module in llm.modules())


def test_new_adapters_can_be_put_onto_merged_weights(llm: PreTrainedModel) -> None:
    apply_tuning(llm, LORA)
    shake(llm)
    merge_adapters(llm)
    expected = logits(llm)
    parameters = apply_tuning(llm, LORA.model_copy(update={"rank": 2}))
    assert len(parameters) == 28 and parameters[0].shape[0] == 2
    assert torch.equal(logits(llm), expected)
