"""Adapters for plain peft, LLaVA's projector file, merged adapters, and the card: each read back by other software."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from llm.config.schema import TextRunConfig
from llm.errors import ConfigError, ModelError
from llm.model.hf_export import proving
from llm.model.quantization import is_four_bit
from tests.vlm.runs import recipe
from vlm.export.llava import llava_config
from vlm.export.merge import merge
from vlm.export.run import export
from vlm.model.forward import VlmModel
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import open_run, train
from vlm.model.vision_model import build_vlm

ASKED = torch.tensor([[256, 72, 105, 33, 257, 256, 65]])
LORA: dict[str, Any] = {"kind": "lora", "rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def lora_run(tiny_llm: Path, clip: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision run that trained adapters in the LLM and the tower."""
    out = tmp_path_factory.mktemp("lora") / "run"
    return train(
        recipe(tiny_llm, clip, records, out, "finetune", tune=LORA | {"tower": "lora", "tower_rank": 2}), Path()
    )


@pytest.fixture(scope="module")
def text_run(tiny_llm: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text run with adapters."""
    folder = tmp_path_factory.mktemp("text")
    rows = [
        {"conversations": [{"from": "human", "value": f"hello {i}?"}, {"from": "gpt", "value": "hi"}]} for i in range(8)
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    return train(text_recipe(tiny_llm, folder, LORA), Path())


def text_recipe(llm: Path, folder: Path, tune: dict[str, Any], name: str = "run") -> TextRunConfig:
    return TextRunConfig.model_validate(
        {
            "name": name,
            "out": str(folder / name),
            "model": {"llm": str(llm)},
            "data": {"sources": [{"path": str(folder / "rows.json")}], "template": "chatml"},
            "tune": tune,
            "optim": {"lr": 1e-2},
            "train": {"epochs": 2, "batch": 4, "dtype": "fp32", "save_every": 0},
        }
    )


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    result: torch.Tensor = model(input_ids=ASKED, use_cache=False).logits
    return result


def trained_logits(run: Path) -> torch.Tensor:
    opened: Any = open_run(run)
    return logits(opened.chat_model.model.eval())


def test_a_vision_runs_adapter_and_base(lora_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(lora_run, out, to="peft") <= 1e-4
    base = AutoModelForImageTextToText.from_pretrained(out / "base", dtype=torch.float32)
    without = logits(base)
    adapted = PeftModel.from_pretrained(base, out / "adapter")
    wanted = trained_logits(lora_run)
    torch.testing.assert_close(logits(adapted), wanted, atol=1e-4, rtol=0)
    assert (without - wanted).abs().max() > 0.01, "the adapter is not in the base"
    names = [name for name, module in adapted.named_modules() if hasattr(module, "lora_A")]
    assert len(names) == 14 and all("language_model" in name for name in names), "the tower's are in the base"
    config = json.loads((out / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(out / "base") and config["modules_to_save"] is None


def test_a_text_runs_adapter_goes_onto_its_own_llm(text_run: Path, tiny_llm: Path, tmp_path: Path) -> None:
    assert export(text_run, tmp_path / "out", to="peft") <= 1e-4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "adapter", "eyegraft.json"]
    base = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, tmp_path / "out/adapter")
    torch.testing.assert_close(logits(adapted), trained_logits(text_run), atol=1e-4, rtol=0)


def test_a_bf16_runs_adapter_belongs_to_rounded_weights(text_run: Path, tiny_llm: Path, tmp_path: Path) -> None:
    """The LLM's folder holds fp32, the run trained on bf16: card and check use the rounded weights."""
    config = text_recipe(tiny_llm, text_run.parent, LORA, "rounded")
    run = train(config.model_copy(update={"train": config.train.model_copy(update={"dtype": "bf16"})}), Path())
    assert export(run, tmp_path / "out", to="peft") <= 1e-4
    assert "dtype=torch.bfloat16)" in (tmp_path / "out/README.md").read_text()

    def adapted(dtype: torch.dtype) -> torch.Tensor:
        base = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=dtype).float()
        return logits(PeftModel.from_pretrained(base, tmp_path / "out/adapter"))

    assert (adapted(torch.bfloat16) - adapted(torch.float32)).abs().max() > 1e-3, "the rounding shows"
    whole: Any = open_run(run).model
    with proving(whole):
        torch.testing.assert_close(adapted(torch.bfloat16), logits(whole.llm), atol=1e-4, rtol=0)


def test_a_qlora_runs_base_holds_the_weights_it_was_trained_on(text_run: Path, tiny_llm: Path, tmp_path: Path) -> None:
    config = text_recipe(tiny_llm, text_run.parent, LORA | {"kind": "qlora"}, "qlora")
    run = train(config, Path())
    assert export(run, tmp_path / "out", to="peft") <= 1e-4
    own = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32).model.layers[0].mlp.up_proj.weight
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "out/base", dtype=torch.float32)
    apart = (base.model.layers[0].mlp.up_proj.weight - own).abs().max()
    assert 0 < apart < 0.3, "rounded to NF4, and dense again"
    merged = tmp_path / "merged"
    export(run, merged)
    adapted = PeftModel.from_pretrained(base, tmp_path / "out/adapter")
    whole = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    torch.testing.assert_close(logits(adapted), logits(whole), atol=1e-4, rtol=0)


def test_a_full_run_has_no_adapter(tiny_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    run = train(recipe(tiny_llm, clip, records, tmp_path / "run", "pretrain", train={"max_steps": 1}), Path())
    with pytest.raises(ConfigError, match="trained with tune.kind: frozen, which leaves no adapter"):
        export(run, tmp_path / "out", to="peft")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("projector", ["mlp2x_gelu", "linear"])
def test_llavas_projector_file(
    projector: str, roomy_llm: Path, clip: Path, records: Path, tmp_path: Path, picture: Any
) -> None:
    changes: dict[str, Any] = {"model": {"projector": projector, "tower_layer": -2}, "train": {"max_steps": 2}}
    run = train(recipe(roomy_llm, clip, records, tmp_path / "run", "pretrain", **changes), Path())
    assert export(run, tmp_path / "out", to="llava") <= 1e-4
    state = torch.load(tmp_path / "out/mm_projector.bin", weights_only=True)
    numbers = ["0.", "2."] if projector == "mlp2x_gelu" else [""]
    assert set(state) == {f"model.mm_projector.{n}{part}" for n in numbers for part in ("weight", "bias")}
    text = (tmp_path / "out/config.json").read_text()
    assert f'\n  "mm_projector_type": "{projector}",\n' in text, "a line for each key, for people"
    config = json.loads(text)
    assert (config["mm_projector_type"], config["mm_vision_select_layer"]) == (projector, -2)
    assert (config["mm_hidden_size"], config["hidden_size"], config["mm_vision_tower"]) == (32, 32, str(clip))
    assert config["image_aspect_ratio"] == "square", "the recipe stretches"
    opened: Any = open_run(run)
    padded = opened.config.model_copy(update={"model": opened.config.model.model_copy(update={"image_mode": "pad"})})
    assert llava_config(padded, opened.model.vision)["image_aspect_ratio"] == "pad"
    vision = opened.model
    features = torch.randn(5, 32)
    weight, bias = (state[f"model.mm_projector.{numbers[0]}{part}"] for part in ("weight", "bias"))
    rows = features @ weight.T + bias
    if projector == "mlp2x_gelu":
        rows = (
            torch.nn.functional.gelu(rows) @ state["model.mm_projector.2.weight"].T + state["model.mm_projector.2.bias"]
        )
    torch.testing.assert_close(rows, vision.vision.projector(features), atol=1e-4, rtol=0)


@pytest.mark.parametrize("projector", ["mlp2x_gelu", "linear"])
def test_llavas_projector_file_is_read_too(
    projector: str, roomy_llm: Path, clip: Path, records: Path, tmp_path: Path
) -> None:
    """Ours, written for LLaVA, starts a new model that computes the same, and stays so when its run begins."""
    changes: dict[str, Any] = {"model": {"projector": projector}, "train": {"max_steps": 2}}
    run = train(recipe(roomy_llm, clip, records, tmp_path / "run", "pretrain", **changes), Path())
    export(run, tmp_path / "out", to="llava")
    ready = {"projector": projector, "projector_weights": str(tmp_path / "out/mm_projector.bin"), "standardise": False}
    again = recipe(roomy_llm, clip, records, tmp_path / "again", "finetune", model=ready, tune={"kind": "frozen"})
    fresh, old = build_vlm(again.model, torch.float32), open_run(run).model
    assert isinstance(old, VlmModel)
    pixels = torch.rand(3, 3, 32, 32)
    fresh.standardise(pixels)
    with torch.no_grad():
        rows = fresh.embed_images(fresh.features(pixels))
        torch.testing.assert_close(rows, old.vision.embed_images(old.vision.features(pixels)), atol=1e-4, rtol=0)


def test_a_projector_file_that_does_not_fit(roomy_llm: Path, clip: Path, records: Path, tmp_path: Path) -> None:
    file = tmp_path / "mm_projector.bin"
    ready = {"projector_weights": str(file), "standardise": False}
    plan = recipe(roomy_llm, clip, records, tmp_path / "run", "pretrain", model=ready)
    for content, message in (
        ({"model.mm_projector.0.weight": torch.zeros(5, 32)}, r"holds 0.weight \(5, 32\) under mm_projector"),
        ({"lm_head.weight": torch.zeros(5)}, "holds nothing under mm_projector"),
    ):
        torch.save(content, file)
        with pytest.raises(ModelError, match=message):
            build_vlm(plan.model, torch.float32)
    file.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="no file of tensors can be read"):
        build_vlm(plan.model, torch.float32)
    with pytest.raises(ValidationError, match="should be false beside projector_weights"):
        recipe(roomy_llm, clip, records, tmp_path / "run", "pretrain", model={"projector_weights": str(file)})


def test_llava_supports_clip_only(roomy_llm: Path, siglip: Path, text_run: Path, records: Path, tmp_path: Path) -> None:
    run = train(recipe(roomy_llm, siglip, records, tmp_path / "run", "pretrain", train={"max_steps": 1}), Path())
    with pytest.raises(ConfigError, match="LLaVA's code supports CLIP towers only, this is siglip_vision_model"):
        export(run, tmp_path / "out", to="llava")
    with pytest.raises(ConfigError, match="this is a text run; it has no projector"):
        export(text_run, tmp_path / "out", to="llava")


def test_the_model_card_documents_origin_and_use(lora_run: Path, tmp_path: Path) -> None:
    for to in ("hf", "peft"):
        out = tmp_path / to
        difference = export(lora_run, out, to=to)
        text = (out / "README.md").read_text()
        front = yaml.safe_load(text.split("---")[1])
        assert front["pipeline_tag"] == "image-text-to-text" and "eyegraft" in front["tags"]
        assert front["library_name"] == ("peft" if to == "peft" else "transformers")
        assert f"{difference:.2e}" in text and "rank 4" in text and "sha256" in text and "steps: " in text
        code = text.split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
        assert f"{to}/" in code if to == "peft" else f'"{to}"' in code


# Any adapter ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(roomy_llm: Path, tmp_path: Path) -> Path:
    """An adapter that peft alone made."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(roomy_llm, dtype=torch.float32)
    adapted: Any = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    adapted.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


def test_any_adapter_is_merged(foreign: Path, roomy_llm: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    assert merge(str(roomy_llm), foreign, out, "fp32", shard="40KB") <= 1e-4
    assert len(list(out.glob("*.safetensors"))) > 2, "in shards"
    plain = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(roomy_llm, dtype=torch.float32)
    torch.testing.assert_close(logits(plain), logits(PeftModel.from_pretrained(base, foreign)), atol=1e-4, rtol=0)
    assert AutoTokenizer.from_pretrained(out).chat_template


def test_what_is_no_adapter_is_refused(foreign: Path, roomy_llm: Path, tiny_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="adapter_config.json is missing"):
        merge(str(roomy_llm), roomy_llm, tmp_path / "out")
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["nothing"]}))
    with pytest.raises(ModelError, match="cannot be loaded onto"):
        merge(str(roomy_llm), foreign, tmp_path / "out")


def test_chat_with_a_foreign_adapter(foreign: Path, roomy_llm: Path, tmp_path: Path, text_run: Path) -> None:
    from llm.chat.chat_model import question
    from llm.chat.sampling import Sampling

    merge(str(roomy_llm), foreign, tmp_path / "merged", "fp32")
    asked, sampling = question("Who are you?"), Sampling(max_new_tokens=12)
    whole = open_chat_model(tmp_path / "merged").answer(asked, sampling)
    assert open_chat_model(roomy_llm, adapter=str(foreign)).answer(asked, sampling) == whole
    assert open_chat_model(roomy_llm).answer(asked, sampling) != whole
    with pytest.raises(ModelError, match="adapter_config.json is missing"):
        open_chat_model(roomy_llm, adapter=str(roomy_llm))
    with pytest.raises(ConfigError, match="is for model folders; .* is a run, which brings its own"):
        open_chat_model(text_run, adapter=str(foreign))


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_models_answer_almost_equally(bits: int, roomy_llm: Path) -> None:
    whole, small = open_chat_model(roomy_llm), open_chat_model(roomy_llm, bits=bits)
    eight_bit = any(type(module).__name__ == "Linear8bitLt" for module in small.model.modules())
    assert (any(map(is_four_bit, small.model.modules())), eight_bit) == (bits == 4, bits == 8)
    one, other = logits(whole.model).softmax(-1), logits(small.model).softmax(-1)
    apart, even = (one - other).abs().max(), (one - 1 / one.shape[-1]).abs().max()
    assert 0 < apart < even / 2, "a model that knows nothing"
