"""Ready models whose language model is held in 4 bits, and their adapters exported."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.model.quantization import is_four_bit
from tests.vlm.ready.test_training import losses, recipe
from vlm.export.run import export
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import open_model, open_run, train
from vlm.ready import training
from vlm.ready.proof import Proof, prove
from vlm.ready.proof_records import PlainRecord, proof_records
from vlm.ready.ready_model import ReadyVlm
from vlm.ready.training import open_proved

Family = Callable[[str], Path]
ASKED = Sampling(max_new_tokens=6)


@pytest.mark.parametrize("name", ["qwen3_vl", "idefics3"])
def test_the_language_model_alone_is_in_four_bits(name: str, family: Family, tmp_path: Path) -> None:
    opened = open_model(recipe(tmp_path, family(name), tune={"kind": "qlora"}))
    vlm = opened.model.vlm
    assert isinstance(vlm, ReadyVlm)
    rounded = {inner for inner in vlm.hf.modules() if is_four_bit(inner)}
    in_text = {inner for inner in vlm.text.modules() if is_four_bit(inner)}
    assert rounded == in_text and len(rounded) == 7 * 3
    assert type(vlm.head) is torch.nn.Linear


@pytest.mark.parametrize("name", ["qwen3_vl", "gemma3"])
def test_qlora_learns_and_its_export_is_the_trained_model(name: str, family: Family, tmp_path: Path) -> None:
    run = train(recipe(tmp_path, family(name), tune={"kind": "qlora"}), tmp_path)
    found = losses(run)
    assert found[-1] < found[0]
    report = json.loads((run / "report.json").read_text())
    assert report["proof"]["logits"] <= 1e-4 and report["proof"]["gradients"] >= 0.9999
    assert export(run, tmp_path / "export") < 1e-4
    asked = question("What is number 2?", (str(tmp_path / "0.png"),))
    exported = open_chat_model(tmp_path / "export")
    assert exported.answer(asked, ASKED) == open_run(run).chat_model.answer(asked, ASKED)


def test_four_bits_in_bf16_are_proved_in_fp32(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And multiply in bf16 again after it."""
    seen: list[set[torch.dtype]] = []

    def products(module: torch.nn.Module) -> set[torch.dtype]:
        return {inner.compute_dtype for inner in module.modules() if is_four_bit(inner)}

    def watched(vlm: ReadyVlm) -> Proof:
        seen.append(products(vlm.hf))
        return prove(vlm)

    monkeypatch.setattr(training, "prove", watched)
    config = recipe(tmp_path, family("qwen3_vl"), tune={"kind": "qlora"}, train={"dtype": "bf16"})
    opened = open_proved(config)
    assert seen == [{torch.float32}] and products(opened.model) == {torch.bfloat16}


def test_four_bits_are_other_weights(family: Family, tmp_path: Path) -> None:
    runs = [
        recipe(tmp_path, family("qwen3_vl"), tune={"kind": kind}, out=str(tmp_path / kind), train={"max_steps": 1})
        for kind in ("lora", "qlora")
    ]
    plain, rounded = (losses(train(run, tmp_path))[0] for run in runs)
    assert abs(plain - rounded) > 1e-3


@pytest.mark.parametrize(
    ("name", "tune", "own_base"),
    [
        ("llava_next", {"kind": "lora"}, False),
        ("qwen3_vl", {"kind": "qlora"}, True),
        ("gemma3", {"kind": "lora", "tower": "lora", "tower_rank": 4}, True),
    ],
)
def test_an_adapter_is_exported_for_plain_peft(
    name: str, tune: dict[str, object], own_base: bool, family: Family, tmp_path: Path
) -> None:
    run = train(recipe(tmp_path, family(name), tune=tune), tmp_path)
    assert export(run, tmp_path / "out", to="peft") < 1e-4
    assert (tmp_path / "out" / "base").is_dir() == own_base
    settings = json.loads((tmp_path / "out/adapter/adapter_config.json").read_text())
    base = AutoModelForImageTextToText.from_pretrained(settings["base_model_name_or_path"], dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()
    vlm = open_run(run).model.vlm
    folder = tmp_path / "proof"
    folder.mkdir()
    for record in proof_records(folder).values():
        plain = PlainRecord.of(vlm, record)
        with torch.no_grad():
            found = adapted(**plain.inputs).logits[0]
            torch.testing.assert_close(found, plain.logits(vlm), rtol=1e-4, atol=1e-4)
    asked = question("What is number 2?", (str(tmp_path / "0.png"),))
    chat = open_chat_model(tmp_path / "out")
    assert chat.answer(asked, ASKED) == open_run(run).chat_model.answer(asked, ASKED)


def test_a_folder_opens_in_four_bits(family: Family, tmp_path: Path) -> None:
    recipe(tmp_path, family("qwen2_5_vl"))
    chat = open_chat_model(family("qwen2_5_vl"), bits=4)
    assert any(is_four_bit(inner) for inner in chat.text.modules())
    assert chat.answer(question("What is number 2?", (str(tmp_path / "0.png"),)), ASKED)
