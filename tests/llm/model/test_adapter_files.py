"""Saved adapters: plain peft loads them, with the same logits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import Linear as PeftLinear
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    LlamaForCausalLM,
)

from llm.model.adapter_files import save_adapter
from llm.model.lora import (
    adapters_off,
    apply_tuning,
)
from llm.model.pretrained import load_llm
from tests.llm.model.adapters import LINEARS, LORA, logits, shake, tiny_llava

pytestmark = pytest.mark.usefixtures("same_draws")


@pytest.mark.parametrize("targets", [(), ("v_proj",)])
def test_plain_peft_loads_a_saved_adapter(tiny_llama: Path, tmp_path: Path, targets: tuple[str, ...]) -> None:
    tune = LORA.model_copy(update={"targets": targets})
    llm = load_llm(str(tiny_llama), torch.float32)
    apply_tuning(llm, tune)
    shake(llm)
    save_adapter(llm, tune, tmp_path, str(tiny_llama))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_llama) and config["task_type"] == "CAUSAL_LM"
    assert set(config["target_modules"]) == (set(targets) or LINEARS)
    assert (config["r"], config["lora_alpha"], config["modules_to_save"]) == (4, 8, None)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, use_cache=False)
    before = logits(base)
    again = PeftModel.from_pretrained(base, tmp_path)
    torch.testing.assert_close(logits(again), logits(llm), atol=1e-5, rtol=1e-5)
    assert (logits(again) - before).abs().max() > 0.01
    names = {name for name, module in again.named_modules() if isinstance(module, PeftLinear)}
    assert len(names) == (2 if targets else 14)


def test_a_vision_models_adapter_is_saved_for_its_language_model_alone(tmp_path: Path) -> None:
    """Servers that know the LLM can then load it (vLLM refuses other names)."""
    llava = tiny_llava()
    apply_tuning(llava, LORA)
    shake(llava)
    save_adapter(llava, LORA, tmp_path, "org/base")
    save_adapter(llava.model.language_model, LORA, tmp_path / "body", "org/base")
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert names.keys() == load_file(tmp_path / "body/adapter_model.safetensors").keys()
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names and len(names) == 28
    text: Any = llava.config.text_config
    alone = LlamaForCausalLM(text)
    with adapters_off(llava):
        body = {
            name.replace(".base_layer", ""): value for name, value in llava.model.language_model.state_dict().items()
        }
        alone.model.load_state_dict({name: value for name, value in body.items() if "lora_" not in name})
        alone.lm_head.load_state_dict(llava.lm_head.state_dict())
        torch.testing.assert_close(logits(alone), logits(llava), atol=1e-6, rtol=1e-6)
    again = PeftModel.from_pretrained(alone, tmp_path)
    torch.testing.assert_close(logits(again), logits(llava), atol=1e-5, rtol=1e-5)
