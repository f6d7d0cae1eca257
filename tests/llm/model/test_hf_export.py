"""An exported causal LM loaded by transformers' Auto classes and pipeline."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, pipeline

import llm.model.hf_export
from llm.encoding.named_templates import JINJA
from llm.errors import ModelError
from llm.model.hf_export import export_llm, generation_config, rename_tensors
from llm.model.merge import merge_adapters
from llm.model.pretrained import load_llm, load_tokenizer
from tests.vlm.conftest import save_llm

CHATML = JINJA["chatml"]


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llm(tmp_path_factory.mktemp("llm"), 260, request.param)


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    network: Any = model.eval()
    found: torch.Tensor = network(input_ids=torch.arange(30, 60)[None], use_cache=False).logits
    return found


def changed(folder: Path, dtype: torch.dtype = torch.float32, four_bit: bool = False) -> PreTrainedModel:
    """The LLM with other weights than the folder's, in train mode, as after a run."""
    model = load_llm(str(folder), dtype, four_bit)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.mul_(1.1)
    model.train()
    return model


def test_the_exported_folder_is_the_trained_model(folder: Path, tmp_path: Path) -> None:
    model = changed(folder)
    apart = export_llm(model, load_tokenizer(str(folder)), CHATML, tmp_path / "out", torch.float32, (257,))
    assert apart <= 1e-4
    assert model.training
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    assert torch.allclose(found, logits(model), atol=1e-4)
    assert not torch.allclose(found, logits(AutoModelForCausalLM.from_pretrained(folder)), atol=1e-2)


def test_a_pipeline_on_the_folder_answers_and_stops(folder: Path, tmp_path: Path) -> None:
    export_llm(changed(folder), load_tokenizer(str(folder)), CHATML, tmp_path / "out", torch.float32, (7,))
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [7, 257]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["use_cache"] is True
    assert str(folder) not in json.dumps(config)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == CHATML
    ask: Any = pipeline("text-generation", model=str(tmp_path / "out"))
    answer = ask([{"role": "user", "content": "Hi"}], max_new_tokens=4)
    assert answer[0]["generated_text"][1]["role"] == "assistant"


def test_bf16_weights_are_exact_in_both_dtypes(folder: Path, tmp_path: Path) -> None:
    model = changed(folder, torch.bfloat16)
    for dtype in (torch.float32, torch.bfloat16):
        assert export_llm(model, load_tokenizer(str(folder)), CHATML, tmp_path / "out", dtype) <= 1e-4
        reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert reloaded.dtype == dtype
    assert model.dtype == torch.bfloat16


def test_four_bit_weights_are_exported_dequantised(folder: Path, tmp_path: Path) -> None:
    model = changed(folder, torch.bfloat16, four_bit=True)
    merge_adapters(model)
    assert export_llm(model, load_tokenizer(str(folder)), CHATML, tmp_path / "out", torch.float32) <= 1e-4
    assert "quantization_config" not in (tmp_path / "out" / "config.json").read_text()


def test_a_lost_weight_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = changed(folder)
    real = llm.model.hf_export.dense_state

    def lossy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
        state = real(model)
        state["model.layers.1.mlp.up_proj.weight"] = torch.zeros(64, 32)
        return state

    monkeypatch.setattr(llm.model.hf_export, "dense_state", lossy)
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ModelError, match="logits differ"):
            export_llm(model, load_tokenizer(str(folder)), CHATML, tmp_path / "out", dtype)
    assert not (tmp_path / "out").exists()


def test_adapters_must_be_merged_first(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = changed(folder)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj"]), model)
    with pytest.raises(ModelError, match="not merged yet"):
        export_llm(model, load_tokenizer(str(folder)), CHATML, tmp_path / "out", torch.float32)


def test_renaming_changes_every_shard_and_the_index(folder: Path, tmp_path: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    rename_tensors(tmp_path, lambda name: name.replace("model.layers", "trunk.blocks"))
    rename_tensors(tmp_path, lambda name: name.replace("trunk.blocks", "model.layers"))
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path))
    assert torch.equal(found, logits(model))
    rename_tensors(tmp_path, lambda name: f"x.{name}")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert all(name.startswith("x.") for name in index["weight_map"])


@pytest.mark.parametrize(
    ("before", "own", "pad", "ends", "padding"),
    [
        (5, 7, 9, [3, 5, 7], 9),
        ([5, 3], None, None, [3, 5], 3),
        (None, None, None, [3], 3),
    ],
)
def test_end_and_padding_tokens_of_the_generation_config(
    before: Any, own: int | None, pad: int | None, ends: list[int], padding: int
) -> None:
    """The template's end token, the LLM's own, the tokenizer's, each once; greedy in any case."""
    model: Any = SimpleNamespace(generation_config=GenerationConfig(eos_token_id=before, temperature=0.3, top_k=4))
    tokenizer: Any = SimpleNamespace(bos_token_id=1, eos_token_id=own, pad_token_id=pad)
    config = generation_config(model, tokenizer, [3])
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, ends, padding)
    assert not config.do_sample and config.temperature != 0.3 and config.top_k != 4
