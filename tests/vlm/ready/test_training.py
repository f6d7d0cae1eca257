"""Finetunes of ready models: trained, resumed, exported, chatted with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.errors import ConfigError
from tests.vlm.ready.families import FAMILIES
from tests.vlm.ready.test_families import save_images
from vlm.config import ReadyRunConfig
from vlm.export.run import export
from vlm.model.runs import open_model, open_run, train

Family = Callable[[str], Path]


def recipe(folder: Path, model: Path, **changes: Any) -> ReadyRunConfig:
    """A run of some steps on twelve records."""
    images = save_images(folder)
    rows = []
    for number in range(12):
        image = "" if number % 4 == 3 else "<image>"
        rows.append(
            {
                "image": str(images[number % 3]) if image else None,
                "conversations": [
                    {"from": "human", "value": f"{image}What is number {number % 5}?"},
                    {"from": "gpt", "value": f"It is {number % 5}."},
                ],
            }
        )
        if not image:
            del rows[-1]["image"]
    (folder / "data.json").write_text(json.dumps(rows))
    sections: dict[str, Any] = {
        "name": "ready",
        "out": str(folder / "run"),
        "stage": "finetune",
        "model": {"vlm": str(model)},
        "data": {"sources": [{"path": str(folder / "data.json")}], "max_length": 400},
        "tune": {"kind": "lora", "rank": 4},
        "optim": {"lr": 1e-2},
        "train": {"epochs": 2, "batch": 6, "pack_tokens": 700, "dtype": "fp32", "log_every": 1, "save_every": 2},
    }
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(sections.get(key), dict) else value
    return ReadyRunConfig.model_validate(sections)


def losses(run: Path) -> list[float]:
    """The training losses of a run by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_learns_and_keeps_its_proof(name: str, family: Family, tmp_path: Path) -> None:
    run = train(recipe(tmp_path, family(name)), tmp_path)
    found = losses(run)
    assert found[-1] < found[0]
    report = json.loads((run / "report.json").read_text())
    assert report["images"] == 9 and report["proof"]["way"] in ("spans", "records")
    opened = open_run(run)
    messages = question("What is number 2?", (str(tmp_path / "0.png"),))
    answer = opened.chat_model.answer(messages, Sampling(max_new_tokens=6))
    streamed = "".join(opened.chat_model.stream(messages, Sampling(max_new_tokens=6)))
    assert answer == streamed != ""


@pytest.mark.parametrize("name", FAMILIES)
def test_an_export_is_the_trained_model_in_plain_transformers(name: str, family: Family, tmp_path: Path) -> None:
    run = train(recipe(tmp_path, family(name), tune={"kind": "lora", "rank": 4, "tower": "full"}), tmp_path)
    difference = export(run, tmp_path / "export")
    assert difference < 1e-4
    processor = AutoProcessor.from_pretrained(tmp_path / "export")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "export", dtype=torch.float32).eval()
    content = [
        {"type": "image", "image": Image.open(tmp_path / "0.png")},
        {"type": "text", "text": "What is number 2?"},
    ]
    turns = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(
        turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    new = model.generate(**inputs, do_sample=False, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :]
    plain = processor.tokenizer.decode(new, skip_special_tokens=True)
    opened = open_run(run)
    ours = opened.chat_model.answer(
        question("What is number 2?", (str(tmp_path / "0.png"),)), Sampling(max_new_tokens=6)
    )
    assert plain == ours


@pytest.mark.parametrize(
    ("name", "tune"),
    [
        ("qwen3_vl", {"tower": "full"}),
        ("llava_next", {}),
        ("gemma3", {"tower": "lora"}),
        ("qwen2_5_vl", {"kind": "qlora"}),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    name: str, tune: dict[str, str], family: Family, tmp_path: Path
) -> None:
    whole = recipe(tmp_path, family(name), tune=tune, out=str(tmp_path / "whole"))
    train(whole, tmp_path)
    stopped = recipe(tmp_path, family(name), tune=tune, out=str(tmp_path / "stopped"))
    train(stopped, tmp_path)
    assert {"step-000002", "step-000004"} <= {path.name for path in (tmp_path / "stopped/checkpoints").iterdir()}
    for lost in ("report.json", "checkpoints/step-000004"):
        path = tmp_path / "stopped" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    train(stopped, tmp_path)
    assert losses(tmp_path / "stopped")[-2:] == losses(tmp_path / "whole")[-2:]


@pytest.mark.parametrize("name", ["qwen3_vl", "idefics3", "gemma3"])
def test_recomputed_layers_change_nothing(name: str, family: Family, tmp_path: Path) -> None:
    found = []
    for again in (True, False):
        train_again = {"recompute": again, "max_steps": 2}
        config = recipe(
            tmp_path, family(name), tune={"tower": "full"}, out=str(tmp_path / str(again)), train=train_again
        )
        vlm = open_model(config).model.vlm
        [tower] = vlm.towers()
        on = [part.is_activation_checkpointing for part in (vlm.text, tower)]
        assert on == [again, again]
        found.append(losses(train(config, tmp_path)))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_shared_prefixes_change_nothing(family: Family, tmp_path: Path) -> None:
    found = []
    for fold in ("auto", "off"):
        config = recipe(tmp_path, family("qwen2_5_vl"), out=str(tmp_path / fold), train={"fold": fold})
        found.append(losses(train(config, tmp_path)))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_other_forms_of_export_are_refused(family: Family, tmp_path: Path) -> None:
    run = train(recipe(tmp_path, family("llava"), train={"max_steps": 1}), tmp_path)
    with pytest.raises(
        ConfigError, match=r"--to llava: a model that model\.vlm names is exported as hf, or its adapter"
    ):
        export(run, tmp_path / "llava", to="llava")
    chat = open_run(run).chat_model
    with pytest.raises(ConfigError, match="the embeddings of a prompt do not say where its images are"):
        chat.embed([1, 2], ())


def test_adapters_of_the_image_side_are_trained(family: Family, tmp_path: Path) -> None:
    config = recipe(tmp_path, family("gemma3"), tune={"kind": "frozen", "tower": "lora"})
    after = open_run(train(config, tmp_path)).model.state_dict()
    moved = [name for name, tensor in after.items() if "lora_B" in name and tensor.abs().max() > 0]
    assert len(moved) == 3 * 6 and all("vision_tower" in name for name in moved)


def test_full_training_moves_every_part(family: Family, tmp_path: Path) -> None:
    config = recipe(tmp_path, family("llava_next"), tune={"kind": "full", "tower": "full"})
    before = {name: tensor.clone() for name, tensor in open_model(config).model.named_parameters()}
    after = dict(open_run(train(config, tmp_path)).model.named_parameters())
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    for part in ("vision_tower", "multi_modal_projector", "image_newline", "language_model.layers", "lm_head"):
        assert any(part in name for name in moved), part
