"""Forecasts of finetunes of ready models against real steps of tiny ones, and what `plan` and `--dry-run` print."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor

from llm.errors import ConfigError
from llm.planning.allocation_tracker import AllocationTracker
from llm.planning.step_forecast import measure
from llm.train.engine import TorchEngine
from llm.train.optimizer import build_optimizer
from tests.vlm.plan.published_vlms import PUBLISHED_VLMS
from tests.vlm.ready.families import FAMILIES
from tests.vlm.ready.test_training import recipe
from vlm.config import ReadyRunConfig
from vlm.model.meta_model import meta_model
from vlm.model.runs import open_model
from vlm.plan.advice import changes
from vlm.plan.dry_run import dry_run
from vlm.plan.memory_report import forecast_run
from vlm.plan.plan import plan
from vlm.plan.ready_pack import largest_image, ready_image_pack, ready_text_pack
from vlm.plan.run_time import run_seconds, sample_records
from vlm.plan.worst_pack import Pack
from vlm.ready.batch import ReadyBatch, UnitInputs
from vlm.ready.forward import ReadyModule
from vlm.ready.ready_model import open_processor
from vlm.ready.ways import Way
from vlm.ready.without_weights import ready_without_weights

Family = Callable[[str], Path]
# Grids that are read as numbers and features in several layers; tiles that are masks; padding and line marks.
READ = ("qwen2_5_vl", "qwen3_vl", "idefics3", "llava_next", "gemma3")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A family's folder without its weights, which are beside it."""
    root = tmp_path_factory.mktemp("ready-plan")

    @cache
    def folder(name: str) -> Path:
        torch.manual_seed(0)
        FAMILIES[name](root / name)
        (root / f"{name}-weights").mkdir()
        (root / name / "model.safetensors").rename(root / f"{name}-weights" / "model.safetensors")
        return root / name

    return folder


def with_weights(model: Path, folder: Path) -> Path:
    """A copy of a family's folder that has its weights."""
    shutil.copytree(model, folder)
    shutil.copy(model.parent / f"{model.name}-weights" / "model.safetensors", folder)
    return folder


def planned(folder: Path, model: Path, **sections: Any) -> ReadyRunConfig:
    """A recipe in bf16."""
    return recipe(folder, model, **{"train": {"dtype": "bf16"}, **sections})


def distinct(pack: Pack) -> Pack:
    """The pack with tensors of their own for each image, as different images have."""
    assert isinstance(pack.batch, ReadyBatch)
    units = tuple(UnitInputs({key: one.clone() for key, one in unit.inputs.items()}) for unit in pack.batch.units)
    return replace(pack, batch=replace(pack.batch, units=units))


@pytest.mark.parametrize("tower", ["frozen", "full"])
@pytest.mark.parametrize("name", READ)
def test_the_peak_of_a_forecast_is_that_of_a_real_step(name: str, tower: str, family: Family, tmp_path: Path) -> None:
    """The reference: the same tracker on a model with weights, real kernels and the real optimizer."""
    config = planned(tmp_path, with_weights(family(name), tmp_path / "model"), tune={"tower": tower})
    opened = open_model(config)
    model: Any = opened.model
    assert isinstance(model, ReadyModule)
    model.vlm.attend(Way.SPANS)
    engine = TorchEngine(model, build_optimizer(opened.groups, config.optim), config.optim.clip)
    model.train()
    pack = distinct(ready_image_pack(config, model.vlm, 0.5))

    def step() -> None:
        for _ in range(2):
            engine.backward(model(pack.batch) / len(pack.text.targets))
        engine.step(1.0)

    step()
    pack = distinct(ready_image_pack(config, model.vlm, 0.5))  # attention builds its index tables in a pack
    tracker = AllocationTracker()
    with tracker:
        tracker.own([*model.parameters(), *model.buffers()], "weights")
        tracker.own(engine.optimizer.low_masters, "masters")
        states = engine.optimizer.inner.state.values()
        tracker.own([t for state in states for t in state.values() if isinstance(t, torch.Tensor)], "moments")
        assert isinstance(pack.batch, ReadyBatch)
        tracker.own([tensor for unit in pack.batch.units for tensor in unit.inputs.values()], "batch")
        step()
    meta = meta_model(config)
    empty: Any = meta.model
    of_plan = ready_image_pack(config, empty.vlm, 0.5)
    found = measure(meta, config.optim, of_plan.batch, of_plan.text, 2, "cpu")
    assert found.total == pytest.approx(tracker.peak, rel=0.05)


@pytest.mark.parametrize("name", ["qwen3_vl", "llava_next"])
def test_each_part_takes_what_its_weights_take(name: str, family: Family, tmp_path: Path) -> None:
    """The reference: the names of the saved tensors. Qwen's projector is a part of its tower's module."""
    saved = load_file(family(name).parent / f"{name}-weights" / "model.safetensors")

    def bytes_of(*words: str) -> int:
        return sum(2 * tensor.numel() for key, tensor in saved.items() if any(word in key for word in words))

    projector = bytes_of("merger", "multi_modal_projector")
    tower = bytes_of("visual", "vision_tower") - bytes_of("merger")
    parts = forecast_run(planned(tmp_path, family(name)), [], "card", 0.5).parts
    assert projector > 0
    assert parts["projector"] == pytest.approx(projector)
    assert parts["tower"] == pytest.approx(tower, rel=0.02)


def test_four_bits_are_those_of_the_language_model_alone(family: Family, tmp_path: Path) -> None:
    """3 layers with 2 x 32 x 32, 2 x 32 x 16 and 3 x 32 x 64 weights: half a byte, and a scale of a byte for 64."""
    dense, rounded = (
        forecast_run(planned(tmp_path, family("qwen3_vl"), tune={"kind": kind}), [], "card", 0.5).parts
        for kind in ("lora", "qlora")
    )
    weights = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    tables = 3 * 7 * 4 * (16 + 256 + 1 + 1)  # of each linear, and at least one scale of scales
    assert dense["weights"] - rounded["weights"] == pytest.approx(
        2 * weights - weights / 2 - weights / 64 - tables, abs=100
    )
    assert dense["tower"] == rounded["tower"]


def test_the_largest_image_is_found_from_sizes(family: Family) -> None:
    """At most 2,048 pixels, 64 of them a token."""
    processor = open_processor(str(family("qwen2_5_vl")))
    best, smaller = largest_image(processor, 300), largest_image(processor, 31)
    assert best is not None and len(best.ids) == 2048 // 64
    assert smaller is not None and 0 < len(smaller.ids) <= 31
    row = processor.row_id
    with_it = AutoProcessor.from_pretrained(family("qwen2_5_vl"))(
        text=["<|image_pad|>"], images=[Image.new("RGB", smaller.size)]
    )
    assert (smaller.ids == row).sum() == sum(token == row for token in with_it["input_ids"][0])


def test_packs_are_as_full_as_the_recipe_allows(family: Family, tmp_path: Path) -> None:
    config = planned(tmp_path, family("qwen2_5_vl"))  # 700 tokens a pack, 6 records a step, images of 32 tokens
    vlm = ready_without_weights(config)[0].vlm
    image, text = ready_image_pack(config, vlm, 0.5), ready_text_pack(config, vlm, 0.5)
    assert image.description == "700 tokens, 252 of them targets, 192 of them from the images of 6 records"
    assert text.description.startswith("700 tokens, 350 of them targets, 0 of them")
    with pytest.raises(ConfigError, match=r"data\.max_length: 5 leaves no room besides an image's tokens, 16 of a"):
        ready_image_pack(planned(tmp_path, family("llava"), data={"max_length": 5}), vlm_of(tmp_path, family), 0.5)


def vlm_of(folder: Path, family: Family) -> Any:
    """LLaVA's meta model: 16 tokens an image."""
    return ready_without_weights(planned(folder, family("llava")))[0].vlm


def test_plan_prints_each_part_and_what_to_change(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = planned(tmp_path, family("qwen3_vl"), tune={"tower": "full"})
    plan(config, tmp_path, "24", 100.0, 0.5)
    printed = capsys.readouterr().out
    assert "ready (finetune) on a card of 24.00 GiB" in printed
    assert "192 of them from the images of 6 records" in printed
    for part in ("weights", "adapters", "projector", "tower", "moments", "in all"):
        assert part in printed
    assert ": fits" in printed
    assert {"tune.kind=qlora", "train.recompute=selective"} <= {str(change) for change in changes(config)}


def test_a_dry_run_plans_the_steps_that_training_takes(
    family: Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = with_weights(family("llava"), tmp_path / "model")
    config = planned(tmp_path, model)
    dry_run(config, tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {words[0]: words[1] for words in lines if len(words) == 2}
    assert (found["records"], found["images"], found["steps"]) == ("12", "9", "4")
    processor = AutoProcessor.from_pretrained(model)
    rows = json.loads((tmp_path / "data.json").read_text())
    lengths = [_length(processor, row) for row in rows]
    assert int(found["tokens"].replace(",", "")) == sum(lengths)
    assert any(words[:2] == ["trains", "llm"] for words in lines)


def _length(processor: Any, row: dict[str, Any]) -> int:
    """Tokens of a record by the model's own processor; the newline after the end mark is left out."""
    question, answer = (turn["value"] for turn in row["conversations"])
    image = [{"type": "image", "image": Image.open(row["image"])}] if "image" in row else []
    messages = [
        {"role": "user", "content": [*image, {"type": "text", "text": question.removeprefix("<image>")}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    made = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
    return int(made["input_ids"].shape[1]) - 1


def test_the_time_of_a_run_is_that_of_its_products(family: Family, tmp_path: Path) -> None:
    config = planned(tmp_path, family("llava"))
    typical = sample_records(config, tmp_path)
    one, two = (run_seconds(config, [], "cpu", 0.5, typical, records, 1e9) for records in (12, 24))
    assert typical.images and typical.tokens > 16
    assert two == pytest.approx(2 * one) and one > 0


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.292),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.767),
        ("OpenGVLab/InternVL3-8B-hf", 7.944),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", 2.247),
        ("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", 0.894),
    ],
)
def test_models_of_recipes_are_planned_in_their_published_sizes(name: str, billions: float, tmp_path: Path) -> None:
    """The counts of parameters that the models' cards give; each recipe's forecast is in recipe_forecasts.json."""
    published = PUBLISHED_VLMS[name]
    published.write(tmp_path / "model", published.llm_layers, published.tower_layers)
    module, _ = ready_without_weights(planned(tmp_path, tmp_path / "model", tune={"kind": "frozen"}))
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(billions * 1e9, rel=1e-3)
