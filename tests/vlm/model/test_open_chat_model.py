"""Folders and runs opened for chat: the dtype and device that fit, few bits, and what is missing or lost is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

import vlm.model.hf_folder
import vlm.model.memory_need
from llm import distributed
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.encoding.named_templates import JINJA
from llm.errors import ConfigError, ModelError
from llm.model.precision import DTYPES, Hardware, this_machine
from llm.model.quantization import is_four_bit
from tests.vlm.export.test_adapters import text_run as text_run
from tests.vlm.export.test_formats import LORA, text_recipe
from tests.vlm.export.test_hf import export, trained
from vlm.export.hf import export_vlm
from vlm.export.run import export as export_run
from vlm.model.image_features import image_features
from vlm.model.memory_need import memory_need
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import train
from vlm.model.shared_tensors import stored_bytes

SHORT = Sampling(max_new_tokens=6)
CARD, OLD = Hardware("a card", card_bf16=True), Hardware()


@pytest.fixture(scope="module")
def vision_folder(tiny_llm: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported vision model. Read only."""
    out = tmp_path_factory.mktemp("exported") / "vision"
    export(trained(tiny_llm, clip), out)
    return out


def kinds(model: nn.Module) -> set[str]:
    return {type(module).__name__ for module in model.modules()}


@pytest.mark.parametrize("hardware", [CARD, OLD], ids=["card", "old CPU"])
@pytest.mark.parametrize("sees", [False, True], ids=["text", "vision"])
def test_a_folder_opens_in_the_dtype_that_the_hardware_multiplies(
    hardware: Hardware, sees: bool, tiny_llm: Path, vision_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlm.model.hf_folder, "this_machine", lambda: hardware)
    opened = open_chat_model(vision_folder if sees else tiny_llm)
    wanted = torch.bfloat16 if hardware.has_bf16 else torch.float32
    assert {parameter.dtype for parameter in opened.model.parameters()} == {wanted}
    assert isinstance(opened.answer(question("Hi"), SHORT), str)


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_folder_opens_in_the_dtype_that_is_asked_for(
    asked: str, tiny_llm: Path, vision_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGRAFT_DTYPE", asked)
    monkeypatch.setattr(vlm.model.hf_folder, "this_machine", this_machine)
    monkeypatch.setattr(vlm.model.memory_need, "this_machine", this_machine)
    for folder in (tiny_llm, vision_folder):
        opened = open_chat_model(folder)
        assert {parameter.dtype for parameter in opened.model.parameters()} == {DTYPES[asked]}
        assert memory_need(folder, 1, 1).weights == stored_bytes([opened.model])


def test_a_folder_opens_on_the_device_of_the_process(tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a card: the meta device, which has no values but a place."""
    monkeypatch.setattr(distributed, "device", lambda: torch.device("meta"))
    assert {parameter.device.type for parameter in open_chat_model(tiny_llm).model.parameters()} == {"meta"}


def test_images_follow_the_model_into_its_dtype(
    vision_folder: Path, monkeypatch: pytest.MonkeyPatch, picture: Any, tmp_path: Path
) -> None:
    """Also where the tower would not cast them itself; on a card their device changes by the same call."""
    monkeypatch.setattr(vlm.model.hf_folder, "this_machine", lambda: CARD)
    seen: list[tuple[torch.dtype, torch.device]] = []

    def features(model: PreTrainedModel, pixels: torch.Tensor) -> list[torch.Tensor]:
        seen.append((pixels.dtype, pixels.device))
        return image_features(model, pixels)

    monkeypatch.setattr(vlm.model.hf_folder, "image_features", features)
    picture.save(tmp_path / "a.png")
    asked = question("What is it?", (str(tmp_path / "a.png"),))
    opened = open_chat_model(vision_folder)
    assert isinstance(opened.answer(asked, SHORT), str)
    assert {*seen} == {(torch.bfloat16, opened.model.device)}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_run_opens_in_few_bits_below_its_adapters(bits: int, text_run: Path) -> None:
    opened, exact = open_chat_model(text_run, bits=bits), open_chat_model(text_run)
    rounded = [module for module in opened.model.modules() if is_four_bit(module)]
    assert len(rounded) == (14 if bits == 4 else 0)
    assert ("Linear8bitLt" in kinds(opened.model)) == (bits == 8)
    assert "LoraLinear" in kinds(opened.model)
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        found, wanted = (model.model(input_ids=ids, use_cache=False).logits for model in (opened, exact))
        plain = exact.without_adapters()
        with plain.answering():
            without = plain.model(input_ids=ids, use_cache=False).logits
    assert 0 < (found - wanted).norm() < 0.5 * (without - wanted).norm(), "the adapter's part is not rounded"


def test_bits_of_a_run_on_four_bits(text_run: Path, tiny_llm: Path) -> None:
    config = text_recipe(tiny_llm, text_run.parent, LORA | {"kind": "qlora"}, "qlora-bits")
    run = train(config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 1})}), Path())
    assert open_chat_model(run, bits=4).answer(question("hello 1?"), SHORT) == open_chat_model(run).answer(
        question("hello 1?"), SHORT
    )
    with pytest.raises(ConfigError, match="--bits 8: .* was trained on 4-bit weights"):
        open_chat_model(run, bits=8)


def test_rounding_a_merged_adapter_is_said(
    text_run: Path, tiny_llm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export_run(text_run, tmp_path / "merged")
    assert "has lora adapters merged into it. Rounded to 4 bits" in caplog.text
    assert json.loads((tmp_path / "merged/eyegraft.json").read_text())["merged"] == "lora"
    caplog.clear()
    open_chat_model(tmp_path / "merged")
    open_chat_model(tiny_llm, bits=4)
    assert "merged" not in caplog.text
    open_chat_model(tmp_path / "merged", bits=4)
    assert "an adapter (lora) is merged into it. Rounded to 4 bits these weights lose what" in caplog.text
    assert "--to peft" in caplog.text


def test_a_vision_folder_without_some_weights_is_refused(vision_folder: Path, tmp_path: Path) -> None:
    for file in vision_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if "vision_tower" in name and "q_proj.weight" in name)
    save_file({name: tensor for name, tensor in weights.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="1 weights are missing, such as .*q_proj.weight"):
        open_chat_model(tmp_path)


def test_an_adapters_template_is_used(text_run: Path, tiny_llm: Path, tmp_path: Path) -> None:
    """The LLM's folder has another template than the run, whose adapter brings its own."""
    export_run(text_run, tmp_path / "out", to="peft")
    (tmp_path / "out/adapter/chat_template.jinja").write_text("{# mine #}" + JINJA["chatml"])
    opened = open_chat_model(tiny_llm, adapter=str(tmp_path / "out"))
    assert opened.encoder.template.jinja.startswith("{# mine #}")


def test_exports_of_both_kinds_make_the_prompts_of_training(
    vision_folder: Path, tiny_llm: Path, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A template that begins an answer otherwise at inference is reported by the export, the plain one is not."""
    from vlm.export.prompt_check import warn_of_other_prompts

    encoder = open_chat_model(vision_folder).encoder
    assert warn_of_other_prompts(encoder, vision_folder, "out") == []
    file = vision_folder.parent / "other"
    file.mkdir()
    other = JINJA["chatml"].replace("assistant\\n' -}}", "assistant\\nWell, ' -}}")
    export_vlm(built := trained(tiny_llm, clip), built.tokenizer, other, file / "x", torch.float32, (257,))
    assert other != JINJA["chatml"], "the marks of the template are where this test looks for them"
    assert len(warn_of_other_prompts(encoder, file / "x", "out")) == 3
    assert "plain transformers makes another prompt of the turns user than this run" in caplog.text
