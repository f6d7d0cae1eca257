"""Exported folders read by transformers: Auto classes, processors, pipeline."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline

import vlm.export.hf
from llm.encoding.named_templates import JINJA
from llm.errors import ModelError, RunError
from llm.model.hf_export import proving
from llm.model.merge import merge_adapters
from tests.vlm.model.test_vision_model import TOWERS, build, our_logits, pixels, prompt
from vlm.export.hf import export_vlm
from vlm.model.vision_model import VisionModel

CHATML = JINJA["chatml"]
QUESTION = "What is it?"


def trained(llm: Path, tower: Path, **settings: Any) -> VisionModel:
    """A model with statistics of real features, in train mode, as a run leaves it."""
    model = build(llm, tower, **settings)
    model.standardise(pixels(model, 8))
    model.train()
    return model


def export(model: VisionModel, out: Path, dtype: torch.dtype = torch.float32) -> float:
    return export_vlm(model, model.tokenizer, CHATML, out, dtype, (257,))


def keys(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


@pytest.mark.parametrize("tower", TOWERS)
def test_every_tower_comes_back_equal(
    tower: str, roomy_llm: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = trained(roomy_llm, request.getfixturevalue(tower))
    assert export(model, tmp_path / "out") <= 1e-4
    reloaded: Any = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.no_grad():
        found = reloaded(input_ids=prompt(model), pixel_values=pixels(model)).logits
    assert torch.allclose(found, our_logits(model.eval(), prompt(model)), atol=1e-4)


def test_an_open_clip_tower_comes_back_equal(open_clip_folder: Path, roomy_llm: Path, tmp_path: Path) -> None:
    model = trained(roomy_llm, Path(f"open_clip:{open_clip_folder}"))
    assert export(model, tmp_path / "out") <= 1e-4
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vision_config"]["model_type"] == "clip_vision_model", "plain transformers needs no open_clip"


def test_a_linear_projector_and_another_layer_and_size(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    model = trained(tiny_llm, clip, projector="linear", tower_layer=-1, image_size=48)
    assert export(model, tmp_path / "out") <= 1e-4
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["projector_hidden_act"], config["vision_feature_layer"]) == ("linear", -1)
    assert config["vision_config"]["image_size"] == 48


@pytest.mark.parametrize("mode", ["resize", "pad"])
@pytest.mark.parametrize("tower", ["clip", "cnn"])
def test_the_processor_gives_pixels_and_image_tokens_of_training(
    tower: str, mode: str, tiny_llm: Path, tmp_path: Path, request: pytest.FixtureRequest, picture: Image.Image
) -> None:
    model = trained(tiny_llm, request.getfixturevalue(tower), image_mode=mode)
    export(model, tmp_path / "out")
    ours = model.preprocess(picture)
    auto: Any = AutoProcessor
    exact = auto.from_pretrained(tmp_path / "out", backend="pil").image_processor(picture, return_tensors="np")
    assert np.abs(exact["pixel_values"][0] - ours).max() <= 1e-6
    processor = auto.from_pretrained(tmp_path / "out")
    inputs = processor(images=[picture, picture], text="<image> and <image>", return_tensors="pt")
    assert int((inputs["input_ids"] == model.image_id).sum()) == 2 * model.image_tokens
    # torchvision's resizing, which AutoProcessor prefers, rounds some values to the neighbouring level.
    level = 1 / 255 / min(model.preprocess.std)
    apart = np.abs(inputs["pixel_values"][0].numpy() - ours)
    assert apart.max() <= level + 1e-5
    assert apart.mean() <= 0.05 * level
    assert processor._get_num_multimodal_tokens([(50, 90)])["num_image_tokens"] == [model.image_tokens]


@pytest.mark.parametrize("tower", ["clip", "cnn"])
def test_the_pipeline_answers_as_the_trained_model_does(
    tower: str, tiny_llm: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = trained(tiny_llm, request.getfixturevalue(tower), image_mode="resize")
    export(model, tmp_path / "out")
    size = model.preprocess.size
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (size, size, 3), np.uint8))
    ask = pipeline("image-text-to-text", model=str(tmp_path / "out"))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": QUESTION}]
    answer = ask(text=[{"role": "user", "content": content}], max_new_tokens=12, return_full_text=False)
    assert answer[0]["generated_text"] == greedy(model, picture, 12)


@torch.no_grad()
def greedy(model: VisionModel, picture: Image.Image, count: int) -> str:
    """The trained model's own answer, token by token, through the template written out."""
    model.eval()
    begin, end = "<|im_start|>user\n", f"\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    ids = model.tokenizer.encode(f"{begin}<image>{end}", add_special_tokens=False)
    at = ids.index(model.image_id)
    before = model.embed_tokens(torch.tensor(ids[:at]))
    rows = model.embed_images(model.features(torch.from_numpy(model.preprocess(picture))[None]))
    states = torch.cat([before, rows, model.embed_tokens(torch.tensor(ids[at + 1 :]))])
    answer: list[int] = []
    for _ in range(count):
        hidden = model.language_model(inputs_embeds=states[None], use_cache=False).last_hidden_state
        answer.append(int(model.lm_head(hidden[0, -1]).argmax()))
        if answer[-1] == 257:
            break
        states = torch.cat([states, model.embed_tokens(torch.tensor(answer[-1:]))])
    return str(model.tokenizer.decode(answer, skip_special_tokens=True))


def test_weights_have_the_names_of_hub_files(roomy_llm: Path, tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    export(trained(roomy_llm, clip), tmp_path / "out")
    assert {
        "vision_tower.vision_model.embeddings.patch_embedding.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
        "multi_modal_projector.linear_1.weight",
        "multi_modal_projector.linear_2.bias",
        "language_model.model.layers.1.mlp.down_proj.weight",
        "language_model.lm_head.weight",
    } <= keys(tmp_path / "out")
    assert not [name for name in keys(tmp_path / "out") if "mean" in name or "std" in name]
    export(trained(tiny_llm, clip), tmp_path / "tied")
    assert not [name for name in keys(tmp_path / "tied") if "lm_head" in name]


def test_the_folder_has_all_files_that_readers_need(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    export(trained(tiny_llm, clip), tmp_path / "out")

    def read(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((tmp_path / "out" / name).read_text())
        return content

    config = read("config.json")
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["tie_word_embeddings"] is config["text_config"]["tie_word_embeddings"] is True
    assert (config["image_token_index"], config["image_seq_length"], config["dtype"]) == (260, 16, "float32")
    assert config["text_config"]["use_cache"] is True
    assert str(tiny_llm.parent) not in json.dumps(config)
    assert read("preprocessor_config.json")["image_processor_type"] == "LlavaImageProcessor"
    assert read("processor_config.json")["processor_class"] == "LlavaProcessor"
    assert read("processor_config.json")["num_additional_image_tokens"] == 1
    assert read("generation_config.json")["eos_token_id"] == [257]
    template = (tmp_path / "out" / "chat_template.jinja").read_text()
    assert "image" in template
    assert CHATML in template


def test_stop_tokens_are_added_to_the_llms_own(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    model = trained(tiny_llm, clip)
    export_vlm(model, model.tokenizer, CHATML, tmp_path / "out", torch.float32, (258, 257))
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [258, 257]


def test_an_export_that_differs_is_refused(
    tiny_llm: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check finds a projector whose statistics were not folded in."""
    model = trained(tiny_llm, clip)
    unfolded = copy.deepcopy(model.projector)
    unfolded.set_statistics(torch.zeros(32), torch.ones(32))
    real = vlm.export.hf.fold_statistics
    monkeypatch.setattr(vlm.export.hf, "fold_statistics", lambda _: real(unfolded))
    with pytest.raises(ModelError, match="logits differ"):
        export(model, tmp_path / "out")
    with pytest.raises(ModelError, match="logits differ"):
        export(model, tmp_path / "out", torch.bfloat16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings", [{"pool": 2}, {"projector": "mlp3x_gelu"}, {"projector_hidden": 8}], ids=["pool", "deep", "narrow"]
)
def test_models_that_the_class_does_not_support_are_refused(
    settings: dict[str, Any], tiny_llm: Path, clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="cannot be exported"):
        export(build(tiny_llm, clip, **settings), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_adapters_must_be_merged_first(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = trained(tiny_llm, clip)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj"]), model.language_model)
    with pytest.raises(ModelError, match="not merged yet"):
        export(model, tmp_path / "out")


def test_bf16_from_fp32_is_rounded_but_the_same_model(roomy_llm: Path, cnn: Path, tmp_path: Path) -> None:
    model = trained(roomy_llm, cnn)
    apart = export(model, tmp_path / "out", torch.bfloat16)
    assert 1e-5 < apart < 0.5 * float(our_logits(model, prompt(model)).std())
    reloaded: Any = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert reloaded.dtype == torch.bfloat16
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert reloaded(input_ids=prompt(model), pixel_values=pixels(model)).logits.isfinite().all()


def test_a_model_trained_in_bf16_exports_to_fp32_and_is_left_as_it_was(
    tiny_llm: Path, clip: Path, tmp_path: Path
) -> None:
    model = trained(tiny_llm, clip, dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    assert export(model, tmp_path / "out") <= 1e-4
    after = model.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )
    assert [module.training for module in model.modules()] == modes
    assert model.lm_head.weight is model.embed_tokens.weight


def test_a_four_bit_llm_is_exported_once_it_is_dense(roomy_llm: Path, clip: Path, tmp_path: Path) -> None:
    model = trained(roomy_llm, clip, four_bit=True)
    with pytest.raises(ModelError, match="4-bit weights are not merged"):
        export(model, tmp_path / "out")
    before = our_logits(model.eval(), prompt(model))
    merge_adapters(model)
    assert export(model, tmp_path / "out") <= 1e-4
    assert "quantization_config" not in (tmp_path / "out" / "config.json").read_text()
    assert torch.allclose(our_logits(model, prompt(model)), before, atol=1e-4)


def test_proving_restores_the_model_after_an_error(roomy_llm: Path, clip: Path) -> None:
    model = build(roomy_llm, clip, dtype=torch.bfloat16).train()
    with pytest.raises(KeyError), proving(model):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert not model.hf.training
        raise KeyError
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.hf.training


def test_only_an_older_export_is_replaced(
    tiny_llm: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(tiny_llm, clip)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match="is not an exported model"):
        export(model, mine)
    assert (mine / "thesis.tex").read_text() == "years"
    out = tmp_path / "new" / "out"
    with monkeypatch.context() as small:
        small.setattr(vlm.export.hf, "SHARD", "100KB")
        export(model, out)
    assert len(list(out.glob("model-*.safetensors"))) > 1, "in shards"
    export(model, out)
    assert [path.name for path in out.glob("model*.safetensors")] == ["model.safetensors"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_written(tiny_llm: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="could not be written"):
        export(trained(tiny_llm, clip), tmp_path / "file" / "out")
